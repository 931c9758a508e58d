"""A commitment that its trainer signs for a relayer to bring (EIP-712; on chain in the compact form of EIP-2098).

It binds trainer, task and round: a relayer can delay or drop it, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from eth_account.messages import SignableMessage

from deltaproof.chain.abi.structs import SignedCommit
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.errors import CryptoError
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.store.permits import SIGNATURE_BYTES, PermitDomain, signer_of

__all__ = ["CommitPermit", "compact"]

NAME = "deltaproof"
"""Of the EIP-712 domain of `TrainerPool`."""
COMMIT_TYPE = "Commit(uint64 taskId,uint32 round,bytes32 commitment)"


@dataclass(frozen=True, slots=True)
class CommitPermit:
    """Leave to bring a commitment of a task's round."""

    task: TaskId
    round: RoundIndex
    commitment: Digest32

    def message(self, gateway: Gateway) -> SignableMessage:
        """What is signed."""
        domain = PermitDomain(gateway.connection.chain_id, gateway.trainers.address)
        fields = SimpleNamespace(taskId=self.task, round=self.round, commitment=self.commitment)
        return domain.message(NAME, COMMIT_TYPE, fields)

    def signer(self, gateway: Gateway, signature: bytes) -> Address:
        """Whose signature of 65 bytes (r, s, v) it is. Raises CryptoError if it is none."""
        return signer_of(self.message(gateway), signature)


def compact(commitment: Digest32, signature: bytes) -> SignedCommit:
    """A commitment with its signature as contracts take it: the highest bit of s is v.

    Raises CryptoError for a signature that has no such form.
    """
    if len(signature) != SIGNATURE_BYTES or signature[32] >> 7 or signature[64] not in (27, 28):
        raise CryptoError("expected 65 bytes r, s, v with v 27 or 28 and s in the lower half (EIP-2)")
    vs = int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255
    return SignedCommit(commitment, Digest32(signature[:32]), Digest32(vs.to_bytes(32, "big")))
