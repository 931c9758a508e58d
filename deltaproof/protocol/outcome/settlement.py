"""The outcome of a round: a verdict, score and payout per trainer, the tree that pays, the digest that is signed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Annotated, Self

from eth_utils.crypto import keccak
from pydantic import FailFast, Field, model_validator

from deltaproof.protocol.commit.commitments import SETTLEMENT_TYPE, RoundDomain
from deltaproof.protocol.rules import BPS, MAX_LEAVES, MAX_PROPOSAL_BYTES
from deltaproof.protocol.types import (
    ZERO_DIGEST,
    AddressField,
    AmountField,
    Digest32,
    DigestField,
    TokenAmount,
    address_bytes,
)
from deltaproof.protocol.wire.documents import Document, Record
from deltaproof.protocol.wire.leaftree import LeafTree, double_hash

__all__ = [
    "PostedLeaves",
    "Settlement",
    "SettlementLeaf",
    "SettlementProposal",
    "Verdict",
    "build_settlement",
    "leaves_tree",
    "scores_tree",
    "verdicts_digest",
]

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Uint64 = Annotated[int, Field(ge=0, le=2**64 - 1)]
BasisPoints = Annotated[int, Field(ge=0, le=BPS)]


class Verdict(IntEnum):
    """What a verifier found about a trainer's round; the numbers are on chain."""

    NONE = 0
    ACCEPTED = 1
    REJECTED = 2
    """A replay failed."""
    WITHHELD = 3
    """Delta or openings are missing or do not match what was committed."""
    UNREVEALED = 4


class SettlementLeaf(Record):
    """One trainer's outcome. Scores are nano-nats of held-out loss improvement."""

    trainer: AddressField
    verdict: Verdict
    score_nanos: Int64 = 0
    stderr_nanos: Uint64 = 0
    discount_bps: BasisPoints = 0
    payout: AmountField

    def fields(self) -> tuple[object, ...]:
        """In the order of the contract's struct `(address, uint8, int64, uint64, uint16, uint128)`."""
        return (
            self.trainer,
            int(self.verdict),
            self.score_nanos,
            self.stderr_nanos,
            self.discount_bps,
            self.payout,
        )


class Settlement(Record):
    """What the quorum signs and the contract keeps."""

    leaves_root: DigestField
    leaf_count: Annotated[int, Field(ge=0, le=MAX_LEAVES)]
    total_payout: AmountField
    verdicts_digest: DigestField
    next_start_digest: DigestField
    improvement_nanos: Int64
    artifact_digest: DigestField

    def fields(self) -> tuple[object, ...]:
        """In the order of the contract's struct."""
        return (
            self.leaves_root,
            self.leaf_count,
            self.total_payout,
            self.verdicts_digest,
            self.next_start_digest,
            self.improvement_nanos,
            self.artifact_digest,
        )

    def signing_digest(self, domain: RoundDomain, attempt: int) -> Digest32:
        """The 32 bytes that verifiers sign; `attempt` counts the settlements of the round that were voided before."""
        types = ("uint8", "bytes32", "uint32", "uint128", "bytes32", "bytes32", "int64", "bytes32")
        return domain.sealed(SETTLEMENT_TYPE, types, (attempt, *self.fields()))


class SettlementProposal(Document, kind="proposal", max_bytes=MAX_PROPOSAL_BYTES):
    """A settlement with the leaves it stands for, as a verifier publishes it for others to sign."""

    settlement: Settlement
    leaves: Annotated[tuple[SettlementLeaf, ...], Field(max_length=MAX_LEAVES), FailFast()]

    @model_validator(mode="after")
    def _settlement_follows_from_leaves(self) -> Self:
        s = self.settlement
        if s != build_settlement(self.leaves, s.next_start_digest, s.improvement_nanos, s.artifact_digest):
            raise ValueError("the settlement does not follow from its leaves")
        return self


class PostedLeaves(Document, kind="proposal", max_bytes=MAX_PROPOSAL_BYTES):
    """A published settlement as it stands, whether or not it follows from its leaves.

    What claims and signatures rest on is a `SettlementProposal`; this is for whoever looks for what is wrong with one.
    """

    settlement: Settlement
    leaves: Annotated[tuple[SettlementLeaf, ...], Field(max_length=MAX_LEAVES), FailFast()]

    def signed_as(self, digest: Digest32, domain: RoundDomain, attempts: Iterable[int]) -> bool:
        """Whether a digest is what is signed of this settlement in a round, in one of these attempts, and these are its
        leaves."""
        named = any(self.settlement.signing_digest(domain, attempt) == digest for attempt in attempts)
        return named and self.belongs_to(self.settlement)

    def belongs_to(self, posted: Settlement) -> bool:
        """Whether these are the leaves that a posted settlement commits to."""
        fits = len(self.leaves) == posted.leaf_count
        return fits and leaves_tree(self.leaves).root == posted.leaves_root

    def proposal_of(self, posted: Settlement) -> SettlementProposal | None:
        """A posted settlement with these leaves; None if they are not its leaves, or it does not follow from them.

        Attack: have everybody sign again for another document, and publish nothing. What claims rest on is the leaves,
        so it does not matter which settlement they were published with.
        """
        try:
            return SettlementProposal(settlement=posted, leaves=self.leaves)
        except ValueError:
            return None


def build_settlement(
    leaves: Sequence[SettlementLeaf], next_start_digest: Digest32, improvement_nanos: int, artifact_digest: Digest32
) -> Settlement:
    """The settlement of leaves sorted by trainer address.

    Raises ValueError if they are not sorted, a trainer appears twice, or the total does not fit 128 bits.
    """
    trainers = [address_bytes(leaf.trainer) for leaf in leaves]
    if any(a >= b for a, b in pairwise(trainers)):
        raise ValueError("settlement leaves must be sorted by trainer address, each once")
    return Settlement(
        leaves_root=leaves_tree(leaves).root,
        leaf_count=len(leaves),
        total_payout=TokenAmount(sum(leaf.payout for leaf in leaves)),
        verdicts_digest=verdicts_digest(leaves),
        next_start_digest=next_start_digest,
        improvement_nanos=improvement_nanos,
        artifact_digest=artifact_digest,
    )


def leaves_tree(leaves: Sequence[SettlementLeaf]) -> LeafTree:
    """The tree that claims and slashes are proved against."""
    types = ("address", "uint8", "int64", "uint64", "uint16", "uint128")
    return LeafTree([double_hash(types, leaf.fields()) for leaf in leaves])


def verdicts_digest(leaves: Sequence[SettlementLeaf]) -> Digest32:
    """The chain `d_i = keccak256(d_{i-1} ‖ trainer_i ‖ verdict_i)` from zero, leaves in order."""
    digest = ZERO_DIGEST
    for leaf in leaves:
        digest = Digest32(keccak(digest + address_bytes(leaf.trainer) + bytes([leaf.verdict])))
    return digest


def scores_tree(leaves: Sequence[SettlementLeaf]) -> LeafTree:
    """The tree over `(trainer, verdict, scoreNanos)`: what a verifier found before money came into it."""
    types = ("address", "uint8", "int64")
    return LeafTree([double_hash(types, leaf.fields()[:3]) for leaf in leaves])
