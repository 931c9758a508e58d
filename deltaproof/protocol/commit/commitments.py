"""Sealed values: what a trainer commits of its work, a verifier of its judgement, a sponsor of its validation sets.

Every commitment names chain, contract, task, round and sender, so that it can be opened nowhere else and by nobody
else: a copied commitment is worthless to the copier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.protocol.wire.leaftree import LeafTree, double_hash

__all__ = [
    "ATTESTATION_TYPE",
    "COMMITMENT_TYPE",
    "SETTLEMENT_TYPE",
    "VOTE_TYPE",
    "RoundDomain",
    "attestation_hash",
    "batch_tree",
    "commitment_hash",
    "typehash",
    "validation_commitment",
    "vote_hash",
]

COMMITMENT_TYPE = (
    "Commitment(uint256 chainId,address tasks,uint64 taskId,uint32 round,address trainer,"
    "bytes32 deltaDigest,bytes32 transcriptRoot,bytes32 salt)"
)
"""What a trainer seals of a round, as an EIP-712 type."""
ATTESTATION_TYPE = (
    "Attestation(uint256 chainId,address tasks,uint64 taskId,uint32 round,address verifier,"
    "bytes32 verdictsDigest,bytes32 scoresRoot,bytes32 artifactDigest,bytes32 salt)"
)
"""What a verifier seals of a round, as an EIP-712 type."""
SETTLEMENT_TYPE = (
    "Settlement(uint256 chainId,address tasks,uint64 taskId,uint32 round,uint8 attempt,bytes32 leavesRoot,"
    "uint32 leafCount,uint128 totalPayout,bytes32 verdictsDigest,bytes32 nextStartDigest,int64 improvementNanos,"
    "bytes32 artifactDigest)"
)
"""What a quorum signs, as an EIP-712 type; `attempt` keeps signatures of a voided settlement from counting again."""
VOTE_TYPE = "Vote(uint256 chainId,address jury,uint256 voteId,uint8 level,address member,bool overturn,bytes32 salt)"
"""What a juror seals of a case, as an EIP-712 type."""


def typehash(type_string: str) -> Digest32:
    """`keccak256` of a type string, in the manner of EIP-712."""
    return Digest32(keccak(text=type_string))


@dataclass(frozen=True)
class RoundDomain:
    """What every sealed or signed value of a round is bound to: its domain, as EIP-712 calls it."""

    chain_id: int
    tasks: Address
    """The TaskManager contract."""
    task_id: TaskId
    round: RoundIndex

    def sealed(self, type_string: str, types: tuple[str, ...], values: tuple[object, ...]) -> Digest32:
        """`keccak256(abi.encode(typehash, chainId, contract, taskId, round, values...))`."""
        head = ("bytes32", "uint256", "address", "uint64", "uint32")
        domain = (typehash(type_string), self.chain_id, self.tasks, self.task_id, self.round)
        return Digest32(keccak(abi_encode((*head, *types), (*domain, *values))))


def commitment_hash(
    domain: RoundDomain, trainer: Address, delta_digest: Digest32, transcript_root: Digest32, salt: Digest32
) -> Digest32:
    """What a trainer commits: its delta and transcript, sealed by a random salt."""
    types = ("address", "bytes32", "bytes32", "bytes32")
    return domain.sealed(COMMITMENT_TYPE, types, (trainer, delta_digest, transcript_root, salt))


def attestation_hash(
    domain: RoundDomain,
    verifier: Address,
    *,
    verdicts_digest: Digest32,
    scores_root: Digest32,
    artifact_digest: Digest32,
    salt: Digest32,
) -> Digest32:
    """What a verifier commits: its verdicts, scores and the digest of its replays, sealed by a random salt."""
    types = ("address", "bytes32", "bytes32", "bytes32", "bytes32")
    return domain.sealed(ATTESTATION_TYPE, types, (verifier, verdicts_digest, scores_root, artifact_digest, salt))


def validation_commitment(digest: Digest32, salt: Digest32) -> Digest32:
    """What a sponsor fixes in the task: `keccak256(abi.encode(digest, salt))` of a validation set's digest."""
    return Digest32(keccak(abi_encode(("bytes32", "bytes32"), (digest, salt))))


def vote_hash(
    chain_id: int, jury: Address, case_id: int, level: int, member: Address, *, overturn: bool, salt: Digest32
) -> Digest32:
    """What a juror seals about a settlement."""
    types = ("bytes32", "uint256", "address", "uint256", "uint8", "address", "bool", "bytes32")
    values = (typehash(VOTE_TYPE), chain_id, jury, case_id, level, member, overturn, salt)
    return Digest32(keccak(abi_encode(types, values)))


def batch_tree(entries: Sequence[tuple[int, Address, Digest32]]) -> LeafTree:
    """The tree over a relayed batch of (the trainer's index in the task, trainer, commitment)."""
    types = ("uint256", "address", "bytes32")
    return LeafTree([double_hash(types, entry) for entry in entries])
