"""Private keys: where they may come from, and that a wrong place says so without showing them."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import PrivateKey

from deltaproof.chain.rpc.keys import create_keystore, load_account
from deltaproof.errors import SigningKeyError

KEY = "0x" + "4c" * 32


def test_key_from_text_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_text(KEY[2:] + "\n")
    monkeypatch.setenv("A_KEY", KEY)
    assert load_account(KEY).address == load_account("env:A_KEY").address == load_account(str(path)).address


def test_keys_sign_with_the_library_whose_time_tells_nothing_and_as_plain_python_does() -> None:
    digest = bytes(range(32))
    signature = PrivateKey(bytes.fromhex(KEY[2:])).sign_msg_hash(digest)
    plain = PrivateKey(bytes.fromhex(KEY[2:]), backend=NativeECCBackend()).sign_msg_hash(digest)
    assert isinstance(signature.backend, CoinCurveECCBackend)
    assert signature.to_bytes() == plain.to_bytes(), "RFC 6979"


def test_keystore_opens_with_its_password_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keystore.json"
    made = create_keystore(path, "correct")
    assert path.stat().st_mode & 0o077 == 0
    assert load_account(str(path), password="correct").address == made.address
    monkeypatch.setenv("DELTAPROOF_PASSWORD", "correct")
    assert load_account(str(path)).address == made.address
    with pytest.raises(SigningKeyError, match="wrong password or damaged"):
        load_account(str(path), password="wrong")
    monkeypatch.delenv("DELTAPROOF_PASSWORD")
    with pytest.raises(SigningKeyError, match="set DELTAPROOF_PASSWORD"):
        load_account(str(path))
    with pytest.raises(SigningKeyError, match="File exists"):
        create_keystore(path, "again")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "holds no private key"),
        (b"{}", "encrypted|does not open"),
        (b"\xff\xfe", "not text"),
        (b"00" * 32, "no valid private key"),
        (b"x" * 70_000, "too large"),
    ],
)
def test_file_without_a_key_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(SigningKeyError, match=message) as caught:
        load_account(str(path), password="x")
    assert str(path) in str(caught.value)


def test_missing_sources_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(SigningKeyError, match="NO_KEY holds no private key"):
        load_account("env:NO_KEY")
    with pytest.raises(SigningKeyError, match="No such file"):
        load_account(str(tmp_path / "none"))


@pytest.mark.parametrize(
    "given", ["f" * 64, KEY[:-1], KEY + "c", f'"{KEY}"', f"'{KEY[2:]}'", KEY[:33] + " " + KEY[33:], f"{KEY}/x"]
)
def test_invalid_key_is_not_shown(given: str) -> None:
    """Accident: a file of variables for a container keeps the quotes, so that the key looks like a file's name, and
    comes into a log."""
    with pytest.raises(SigningKeyError) as caught:
        load_account(given)
    assert not any(part in str(caught.value) for part in (given, "f" * 16, "4c" * 8))


def test_file_with_a_long_name_of_digits_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / ("ab" * 32)
    path.write_text(KEY)
    assert load_account(str(path)).address == load_account(KEY).address
