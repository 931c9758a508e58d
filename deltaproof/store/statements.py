"""What an account says of itself, signed by it (EIP-712) and kept under its address: any store may serve it.

A store can hide a statement, or serve an older one, and cannot make one up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Self

from eth_account.messages import SignableMessage
from pydantic import StringConstraints

from deltaproof.errors import CryptoError
from deltaproof.protocol.types import AddressField
from deltaproof.protocol.wire.documents import Record
from deltaproof.store.permits import PermitDomain, signer_of

__all__ = ["Statement"]


class Statement(Record):
    """The signed part of a document about an account."""

    SIGNED_AS: ClassVar[str]
    """Name of the EIP-712 domain."""
    SIGNED: ClassVar[str]
    """The EIP-712 type of what is signed, whose fields are the document's of these names."""

    account: AddressField
    """Whose it is."""
    signature: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{130}$")] = "0x" + "00" * 65
    """The account's, over the signed fields: r, s, v."""

    def message(self, domain: PermitDomain) -> SignableMessage:
        """What the account signs."""
        return domain.message(self.SIGNED_AS, self.SIGNED, self)

    def signed(self, sign: Callable[[SignableMessage], bytes], domain: PermitDomain) -> Self:
        """The same with its account's signature."""
        return self.model_copy(update={"signature": "0x" + sign(self.message(domain)).hex()})

    def check_signature(self, domain: PermitDomain) -> None:
        """Raises CryptoError unless its account signed it for this deployment."""
        signer = signer_of(self.message(domain), self.signature)
        if signer != self.account:
            raise CryptoError(f"signed by {signer}, not by {self.account}")
