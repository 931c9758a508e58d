"""What one key has in flight, on disk, so that no transaction is sent twice or forgotten.

A key is used by one process at a time (file lock). Before a transaction is broadcast, it is written down; the entry
goes when its receipt is in. A process that was killed in between finds it and waits for it before it sends more.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from deltaproof.errors import SigningKeyError
from deltaproof.folders import settle
from deltaproof.protocol.types import Address, Digest32

__all__ = ["Pending", "TransactionJournal", "default_state_folder"]


@dataclass(frozen=True)
class Pending:
    """A transaction that was or is about to be broadcast."""

    label: str
    transaction: dict[str, object]
    """Fields of its latest form; `data` in hexadecimal."""
    raw: tuple[str, ...]
    """Its signed forms, which share one nonce, oldest first; hexadecimal."""

    @property
    def nonce(self) -> int:
        """The transaction's place among those of its account."""
        return int(str(self.transaction["nonce"]))


class TransactionJournal:
    """The lock and the entry of one key on one chain."""

    def __init__(self, folder: Path, genesis: Digest32, account: Address) -> None:
        """Take the lock. Raises SigningKeyError if another process has it, or the folder cannot be used."""
        # By chain as well: one key has a nonce of its own on each.
        stem = f"{account.lower()}-{genesis.hex()[:16]}"
        self._path = folder / f"{stem}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FileLock(folder / f"{stem}.lock", timeout=0)
            self._lock.acquire()
        except Timeout as error:
            message = f"key {account} is in use by another process; give each agent its own key, or stop the other one"
            raise SigningKeyError(message) from error
        except OSError as error:
            raise SigningKeyError(f"cannot use {folder} for key locks: {error.strerror}") from error

    def read(self) -> Pending | None:
        """What an earlier run left in flight. Raises SigningKeyError for a damaged entry."""
        try:
            content = json.loads(self._path.read_text("utf-8"))
            return Pending(str(content["label"]), dict(content["transaction"]), tuple(map(str, content["raw"])))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{self._path} is unreadable ({error}); check that nothing of this key is pending, then remove it"
            raise SigningKeyError(message) from error

    def write(self, pending: Pending) -> None:
        """Replace the entry, on disk before this returns."""
        # Whole or not at all: a torn entry would stop the key until somebody looks at it.
        unfinished = self._path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(pending), file)
            file.flush()
            os.fsync(file.fileno())
        settle(unfinished, self._path)

    def clear(self) -> None:
        """Nothing is in flight any more."""
        self._path.unlink(missing_ok=True)

    def beside(self, what: str) -> Path:
        """The file for something else of this key on this chain."""
        return self._path.with_suffix(f".{what}.json")

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()


def default_state_folder() -> Path:
    """`$DELTAPROOF_STATE`, else `$XDG_STATE_HOME/deltaproof`, else `~/.local/state/deltaproof`."""
    if explicit := os.environ.get("DELTAPROOF_STATE"):
        return Path(explicit)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "deltaproof"
