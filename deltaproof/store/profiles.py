"""What a participant says of itself: a name, a page and a contact, signed, kept in the store by its address.

Nobody checks that it is true, and two accounts may have the same name: a name is shown beside the address, never in its
place. Any store may serve a profile, because its account signed it (EIP-712); a store can hide one, or serve an older
one, and cannot make one up. The fields are those of EIP-634 that a person needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from pydantic import AfterValidator, Field, StringConstraints

from deltaproof.errors import CryptoError
from deltaproof.protocol.types import Address, AddressField, address
from deltaproof.protocol.wire.documents import Document
from deltaproof.store.permits import PermitDomain

__all__ = ["Profile", "shown_name"]

MAX_PROFILE_BYTES = 4_096
_FIELDS = ("name", "url", "contact")
_TYPES = {
    "Profile": [
        {"name": "account", "type": "address"},
        *({"name": name, "type": "string"} for name in _FIELDS),
        {"name": "issued", "type": "uint256"},
    ]
}


def _one_line(value: str) -> str:
    """Neither line ends, nor escape codes, nor marks that hide or turn other signs (Unicode's categories C and Z)."""
    if not value.isprintable() or value != " ".join(value.split()):
        raise ValueError("write one line of printed characters, with single spaces and none at its ends")
    return value


_Line = Annotated[str, StringConstraints(max_length=64), AfterValidator(_one_line)]
_LongLine = Annotated[str, StringConstraints(max_length=200), AfterValidator(_one_line)]
_Url = Annotated[str, StringConstraints(max_length=200, pattern=r"^(https://[A-Za-z0-9.\-]+(:[0-9]+)?(/[!-~]*)?)?$")]


class Profile(Document, kind="profile", max_bytes=MAX_PROFILE_BYTES):
    """An account's word about itself; empty fields say nothing."""

    account: AddressField
    """Whose it is."""
    name: _Line = ""
    """At most 64 characters."""
    url: _Url = ""
    """A page, https, at most 200 characters."""
    contact: _LongLine = ""
    """How to be reached, such as an address of mail; at most 200 characters."""
    issued: Annotated[int, Field(ge=0, lt=2**53)]
    """When it was signed, seconds since the epoch."""
    signature: Annotated[str, StringConstraints(pattern=r"^0x[0-9a-f]{130}$")] = "0x" + "00" * 65
    """The account's, over the others: r, s, v."""

    def message(self, domain: PermitDomain) -> SignableMessage:
        """What the account signs."""
        place = {
            "name": "deltaproof profile",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": domain.contract,
        }
        return encode_typed_data(place, _TYPES, {name: getattr(self, name) for name in ("account", *_FIELDS, "issued")})

    def signed(self, sign: Callable[[SignableMessage], bytes], domain: PermitDomain) -> Profile:
        """The same with its account's signature."""
        return self.model_copy(update={"signature": "0x" + sign(self.message(domain)).hex()})

    def check(self, domain: PermitDomain, account: Address) -> None:
        """Raises CryptoError unless it is this account's, signed by it for this deployment."""
        if self.account != account:
            raise CryptoError(f"the profile is {self.account}'s")
        try:
            signer = address(Account.recover_message(self.message(domain), signature=self.signature))
        except Exception as error:  # the library raises errors of several others
            raise CryptoError(f"not a signature of secp256k1: {error}") from error
        if signer != account:
            raise CryptoError(f"signed by {signer}, not by {account}")


def shown_name(account: Address, profile: Profile | None) -> str:
    """How a table names an account: its address, which nobody else has, and what it calls itself."""
    return f"{account} ({profile.name})" if profile is not None and profile.name else str(account)
