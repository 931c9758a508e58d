"""Signed permission to write one artifact: EIP-712 over task, path, size, digest and expiry (docs/gateway.md).

The bytes are named by their digest, and a gateway replaces nothing. So a permit that somebody else repeats does what
has been done already.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data

from deltaproof.errors import CryptoError
from deltaproof.protocol.types import Address, Digest32, TaskId, address
from deltaproof.protocol.wire.encoding import sha256

__all__ = ["MAX_PERMIT_SECONDS", "PART_BYTES", "PermitDomain", "WritePermit", "Writer"]

PART_BYTES = 4 * 1024 * 1024
"""Most bytes in the body of one request; what is larger travels in parts."""
MAX_PERMIT_SECONDS = 3_600
"""How far ahead a permit may expire."""
PERMIT_SECONDS = 900
"""How long a permit of ours holds."""
SIGNATURE_BYTES = 65
_TYPES = {
    "Write": [
        {"name": "task", "type": "uint256"},
        {"name": "path", "type": "string"},
        {"name": "size", "type": "uint256"},
        {"name": "digest", "type": "bytes32"},
        {"name": "expires", "type": "uint256"},
    ]
}


@dataclass(frozen=True, slots=True)
class PermitDomain:
    """The deployment that a permit is for: chain id, and address of its TaskManager."""

    chain_id: int
    contract: Address


@dataclass(frozen=True, slots=True)
class WritePermit:
    """One artifact of one task: `size` in bytes, SHA-256 of the bytes, `expires` in seconds since the epoch."""

    task: TaskId
    path: str
    size: int
    digest: Digest32
    expires: int

    def message(self, domain: PermitDomain) -> SignableMessage:
        """What is signed."""
        place = {
            "name": "deltaproof store",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": domain.contract,
        }
        fields = {name: getattr(self, name) for name in self.__slots__}
        return encode_typed_data(place, _TYPES, fields)

    def signer(self, domain: PermitDomain, signature: bytes) -> Address:
        """Whose signature it is. Raises CryptoError if it is none."""
        if len(signature) != SIGNATURE_BYTES:
            raise CryptoError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
        try:
            return address(Account.recover_message(self.message(domain), signature=signature))
        except Exception as error:  # the library raises errors of several others
            raise CryptoError(f"not a signature of secp256k1: {error}") from error


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, for which task of which deployment."""

    sign: Callable[[SignableMessage], bytes]
    """Signs with the account's key: 65 bytes, r, s, v."""
    domain: PermitDomain
    task: TaskId

    def permit(self, path: str, data: bytes) -> tuple[WritePermit, bytes]:
        """A permit for these bytes, and its signature."""
        permit = WritePermit(self.task, path, len(data), sha256(data), int(time.time()) + PERMIT_SECONDS)
        return permit, self.sign(permit.message(self.domain))
