"""A participant's own secret, from which every salt and key that it needs is derived.

One random file is all that must not be lost: a process killed at any instruction derives the same salts again and can
still reveal what it committed.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from pathlib import Path

from deltaproof.errors import SigningKeyError
from deltaproof.folders import made_folder, sync_folder
from deltaproof.protocol.types import Digest32

__all__ = ["UNFINISHED", "HomeSecret"]

SECRET_BYTES = 32
UNFINISHED = "restore-unfinished"
"""A file in a home that holds a part of a backup: no role works there."""


class HomeSecret:
    """32 random bytes in `<home>/secret`, made at first use and readable by their owner only."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise SigningKeyError(f"a home's secret has {SECRET_BYTES} bytes, not {len(secret)}")
        self._secret = secret

    @classmethod
    def of(cls, home: Path) -> HomeSecret:
        """The home's secret. Raises SigningKeyError if it is damaged or cannot be written."""
        path = home / "secret"
        if (home / UNFINISHED).exists():
            raise SigningKeyError(f"{home} holds a part of a backup: run `deltaproof agent restore` again")
        try:
            made_folder(home)
            if not path.exists():
                _create(path, os.urandom(SECRET_BYTES))
            return cls(path.read_bytes())
        except OSError as error:
            raise SigningKeyError(f"cannot read or make {path}: {error.strerror}") from error

    def derive(self, purpose: str, *parts: bytes) -> Digest32:
        """HMAC-SHA256 of a purpose and length-prefixed parts (RFC 2104)."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in (purpose.encode(), *parts))
        return Digest32(hmac.new(self._secret, message, hashlib.sha256).digest())


def _create(path: Path, secret: bytes) -> None:
    """Whole or not at all: a half-written secret would lose every commitment made with it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    # link, not rename: another process that made the secret first must win.
    with contextlib.suppress(FileExistsError):
        os.link(partial, path)
    partial.unlink()
    sync_folder(path.parent)
