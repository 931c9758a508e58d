"""Private keys: from the environment, a file, or an encrypted keystore; never printed, never logged."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from deltaproof.errors import SigningKeyError

__all__ = ["PASSWORD_VARIABLE", "LocalAccount", "create_keystore", "encrypted_key", "load_account"]

MAX_KEY_FILE_BYTES = 64 * 1024
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PASSWORD_VARIABLE = "DELTAPROOF_PASSWORD"
"""In the environment: what opens a keystore."""
LIKE_A_KEY = re.compile(r"[0-9a-fA-F]{48}")
"""In what names a key file: most of a key, which somebody copied badly, or put between quotes that the shell or a file
of variables kept. A keystore's usual name has an address, 40 digits."""


def load_account(source: str, *, password: str | None = None) -> LocalAccount:
    """The account behind `source`: `env:NAME`, 64 hexadecimal digits, or a file with a key or keystore JSON.

    A keystore is opened with `password`, or with the environment variable DELTAPROOF_PASSWORD. Raises SigningKeyError.
    """
    return _from_text(*_key_text(source), password)


def encrypted_key(source: str) -> str | None:
    """What names the keystore behind `source`, of the forms that `load_account` takes; None for anything else."""
    try:
        text, origin = _key_text(source)
    except SigningKeyError:
        return None  # a remote signer's URL; or no key at all, as `load_account` says
    return origin if text.strip().startswith("{") else None


def _key_text(source: str) -> tuple[str, str]:
    """The key or keystore itself, and what names it. Raises SigningKeyError."""
    if source.startswith("env:"):
        name = source.removeprefix("env:")
        if not os.environ.get(name):
            raise SigningKeyError(f"environment variable {name} holds no private key")
        return os.environ[name], f"environment variable {name}"
    if _is_raw_key(source):
        return source, "the given key"
    path = Path(source).expanduser()
    if LIKE_A_KEY.search("".join(source.split())) and not os.path.exists(path):
        raise SigningKeyError(
            "the given key is none, and no file either: a key has 64 hexadecimal digits, without quotes or spaces "
            f"(it has {len(source.strip())} characters; they are not shown)"
        )
    try:
        if path.stat().st_size > MAX_KEY_FILE_BYTES:
            raise SigningKeyError(f"{path} is too large for a key file")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SigningKeyError(
            f"cannot read key file {path}: {reason}; write a private key into it, 64 hexadecimal digits "
            "(`deltaproof chain up` prints some), or a keystore"
        ) from error
    return text, str(path)


def create_keystore(path: Path, password: str) -> LocalAccount:
    """Make a new key and write it encrypted to `path`, readable by its owner only. Raises SigningKeyError."""
    account: LocalAccount = Account.create()
    keystore = json.dumps(Account.encrypt(account.key, password))  # first: it takes a second, and may be interrupted
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(keystore)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SigningKeyError(f"cannot create key file {path}: {error.strerror}") from error
    return account


def _from_text(text: str, origin: str, password: str | None) -> LocalAccount:
    text = text.strip()
    if text.startswith("{"):
        return _from_keystore(text, origin, password)
    if not _is_raw_key(text):
        raise SigningKeyError(f"{origin} holds no private key: expected 64 hexadecimal digits or keystore JSON")
    return _account(bytes.fromhex(text.removeprefix("0x")), origin)


def _from_keystore(text: str, origin: str, password: str | None) -> LocalAccount:
    password = password if password is not None else os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        raise SigningKeyError(f"{origin} is encrypted; set {PASSWORD_VARIABLE}")
    try:
        key = bytes(Account.decrypt(json.loads(text), password))
    except (ValueError, KeyError, TypeError) as error:
        raise SigningKeyError(f"{origin} does not open: wrong password or damaged keystore") from error
    return _account(key, origin)


def _account(key: bytes, origin: str) -> LocalAccount:
    if not 1 <= int.from_bytes(key, "big") < CURVE_ORDER:  # eth-account accepts zero, and fails without a type above
        raise SigningKeyError(f"{origin} holds no valid private key: not between 1 and the order of secp256k1")
    account: LocalAccount = Account.from_key(key)
    return account


def _is_raw_key(text: str) -> bool:
    digits = text.strip().removeprefix("0x")
    return len(digits) == 64 and all(character in "0123456789abcdefABCDEF" for character in digits)
