"""What a participant says of itself: a name, a page and a contact, signed, kept in the store by its address.

Nobody checks that it is true, and two accounts may have the same name: a name is shown beside the address, never in its
place. The fields are those of EIP-634 that a person needs.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from deltaproof.errors import CryptoError
from deltaproof.protocol.types import Address
from deltaproof.protocol.wire.documents import Document
from deltaproof.store.permits import PermitDomain
from deltaproof.store.statements import Statement

__all__ = ["Profile", "shown_name"]

MAX_PROFILE_BYTES = 4_096


def _one_line(value: str) -> str:
    """Neither line ends, nor escape codes, nor marks that hide or turn other signs (Unicode's categories C and Z)."""
    if not value.isprintable() or value != " ".join(value.split()):
        raise ValueError("write one line of printed characters, with single spaces and none at its ends")
    return value


_Line = Annotated[str, StringConstraints(max_length=64), AfterValidator(_one_line)]
_LongLine = Annotated[str, StringConstraints(max_length=200), AfterValidator(_one_line)]
_Url = Annotated[str, StringConstraints(max_length=200, pattern=r"^(https://[A-Za-z0-9.\-]+(:[0-9]+)?(/[!-~]*)?)?$")]


class Profile(Statement, Document, kind="profile", max_bytes=MAX_PROFILE_BYTES):
    """An account's word about itself; empty fields say nothing."""

    SIGNED_AS = "deltaproof profile"
    SIGNED = "Profile(address account,string name,string url,string contact,uint256 issued)"

    name: _Line = ""
    """At most 64 characters."""
    url: _Url = ""
    """A page, https, at most 200 characters."""
    contact: _LongLine = ""
    """How to be reached, such as an address of mail; at most 200 characters."""
    issued: Annotated[int, Field(ge=0, lt=2**53)]
    """When it was signed, seconds since the epoch."""

    def check(self, domain: PermitDomain, account: Address) -> None:
        """Raises CryptoError unless it is this account's, signed by it for this deployment."""
        if self.account != account:
            raise CryptoError(f"the profile is {self.account}'s")
        self.check_signature(domain)


def shown_name(account: Address, profile: Profile | None) -> str:
    """How a table names an account: its address, which nobody else has, and what it calls itself."""
    return f"{account} ({profile.name})" if profile is not None and profile.name else str(account)
