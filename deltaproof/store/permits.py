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

__all__ = [
    "MAX_PERMIT_SECONDS",
    "PART_BYTES",
    "SIGNATURE_BYTES",
    "PermitDomain",
    "WritePermit",
    "Writer",
    "seconds_ahead",
    "signer_of",
]

PART_BYTES = 4 * 1024 * 1024
"""Most bytes in the body of one request; what is larger travels in parts."""
MAX_PERMIT_SECONDS = 3_600
"""How far ahead a permit may expire."""
PERMIT_SECONDS = 900
"""How long a permit of ours holds."""
MAX_CLOCK_SECONDS = 86_400
"""How far the clocks of who writes and of a gateway may be apart."""
SIGNATURE_BYTES = 65
"""Of a signature by an account's key: r, s, v."""
_WRITE = "Write(uint256 task,string path,uint256 size,bytes32 digest,uint256 expires)"


@dataclass(frozen=True, slots=True)
class PermitDomain:
    """The deployment that a permit is for: chain id, and address of its TaskManager."""

    chain_id: int
    contract: Address

    def message(self, name: str, type_: str, value: object) -> SignableMessage:
        """What is signed of an object's fields here (EIP-712). `name` keeps a signature of one kind from serving as
        another; `type_` names type and fields as `encodeType` does."""
        place = {"name": name, "version": "1", "chainId": self.chain_id, "verifyingContract": self.contract}
        kind, _, listed = type_.removesuffix(")").partition("(")
        types = dict(entry.split(" ")[::-1] for entry in listed.split(","))
        fields = {field: getattr(value, field) for field in types}
        return encode_typed_data(place, {kind: [{"name": n, "type": t} for n, t in types.items()]}, fields)


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
        return domain.message("deltaproof store", _WRITE, self)

    def signer(self, domain: PermitDomain, signature: bytes) -> Address:
        """Whose signature it is. Raises CryptoError if it is none."""
        if len(signature) != SIGNATURE_BYTES:
            raise CryptoError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
        return signer_of(self.message(domain), signature)


def seconds_ahead(clock: float) -> int:
    """How far another clock, in seconds since the epoch, is before this machine's; 0 for one that is off by more than
    `MAX_CLOCK_SECONDS`.

    Accident: a machine's clock is an hour behind, every permit has expired when it comes, no opening is taken, and
    half of a stake is lost for work that counts as withheld. What somebody gets by lying about the time is a permit
    that holds for a day, to put the same bytes under the same name again.
    """
    ahead = int(clock - time.time())
    return ahead if abs(ahead) <= MAX_CLOCK_SECONDS else 0


def signer_of(message: SignableMessage, signature: bytes | str) -> Address:
    """Whose signature it is, from bytes or `0x` and hexadecimal digits. Raises CryptoError if it is none."""
    try:
        return address(Account.recover_message(message, signature=signature))
    except Exception as error:  # the library raises errors of several others
        raise CryptoError(f"not a signature of secp256k1: {error}") from error


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, for which task of which deployment."""

    sign: Callable[[SignableMessage], bytes]
    """Signs with the account's key: 65 bytes, r, s, v."""
    domain: PermitDomain
    task: TaskId

    def permit(self, path: str, data: bytes, ahead: int = 0) -> tuple[WritePermit, bytes]:
        """A permit for these bytes, and its signature. `ahead`: see `seconds_ahead`."""
        expires = int(time.time()) + ahead + PERMIT_SECONDS
        permit = WritePermit(self.task, path, len(data), sha256(data), expires)
        return permit, self.sign(permit.message(self.domain))
