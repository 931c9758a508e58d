"""What a participant says of itself: signed, short, one line each, and never another's."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import SignableMessage
from pydantic import ValidationError

from deltaproof.errors import ArtifactAltered
from deltaproof.protocol.types import Address
from deltaproof.store import open_store
from deltaproof.store.paths import profile_path
from deltaproof.store.permits import PermitDomain
from deltaproof.store.profiles import Profile, shown_name

KEY, OTHER = (Account.from_key(bytes([n]) * 32) for n in (1, 2))
WHO = Address(KEY.address)
HERE = PermitDomain(1, Address("0x" + "11" * 20))


def sign(message: SignableMessage) -> bytes:
    return bytes(KEY.sign_message(message).signature)


def said(name: str = "Ann", **fields: object) -> Profile:
    return Profile(account=WHO, name=name, issued=1_800_000_000, **fields).signed(sign, HERE)  # type: ignore[arg-type]


def test_profile_is_read_as_it_was_signed_and_shown_beside_the_address(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    profile = said(url="https://ann.example/about?x=1", contact="ann@mail.example")
    store.put_profile(profile)
    assert store.get_profile(HERE, WHO) == profile
    assert shown_name(WHO, profile) == f"{WHO} (Ann)"
    assert shown_name(WHO, None) == shown_name(WHO, said("")) == WHO
    store.put_profile(said("Anna"))
    assert store.get_profile(HERE, WHO).name == "Anna"


@pytest.mark.parametrize("lie", ["name", "account", "domain", "signature", "bytes"])
def test_profile_that_its_account_did_not_sign_is_refused_and_left_out_of_tables(tmp_path: Path, lie: str) -> None:
    store, profile, domain, who = open_store(str(tmp_path)), said(), HERE, WHO
    match lie:
        case "name":
            profile = profile.model_copy(update={"name": "Bob"})
        case "account":
            who = Address(OTHER.address)
            profile = profile.model_copy(update={"account": who})
        case "domain":
            domain = PermitDomain(2, HERE.contract)
        case "signature":
            profile = profile.model_copy(update={"signature": "0x" + "ff" * 65})
    store.put_profile(profile)
    if lie == "bytes":
        (tmp_path / profile_path(who)).write_bytes(b"not a document")
    with pytest.raises(ArtifactAltered):
        store.get_profile(domain, who)
    assert store.known_profiles(domain, [who]) == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 65},
        {"name": "two\nlines"},
        {"name": "\x1b[2Jclear"},
        {"name": "turned \u202egnp.exe"},
        {"name": "zero\u200bwidth"},
        {"name": " Ann"},
        {"contact": "x" * 201},
        {"url": "javascript:alert(1)"},
        {"url": "http://ann.example"},
        {"url": "https://ann.example/<script>\n"},
        {"url": "https://user@ann.example/"},
        {"email": "no such field"},
    ],
)
def test_field_that_could_disturb_or_deceive_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Profile(account=WHO, issued=1, **fields)  # type: ignore[arg-type]
