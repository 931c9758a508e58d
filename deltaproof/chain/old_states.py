"""Where a local Anvil keeps the states of old blocks: a folder that goes when it does. Ganache leaves it empty.

Left to itself Anvil writes up to 3,600 states of about a megabyte below the home, and removes them only where it ends
in peace: after a day of chains that were killed, tens of gigabytes. A lock that the process inherits says that it
lives, also where whoever started it is gone. Whoever starts the next one removes folders that nobody has locked.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from deltaproof.folders import cache_root

__all__ = ["OldStates"]

LOCK = "in-use"


@dataclass(frozen=True, slots=True)
class OldStates:
    """A folder, and the descriptor of its lock, which the chain's process inherits."""

    path: Path
    lock: int

    @classmethod
    def new(cls) -> OldStates:
        """Make one, and remove those of chains that are gone."""
        root = cache_root() / "chains"  # on a disk: the place for temporary files may be memory
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "lock"):  # nobody takes one that is being made for one that was left
            for path in (path for path in root.iterdir() if path.is_dir()):
                _remove_if_left(path)
            path = Path(tempfile.mkdtemp(dir=root))
            return cls(path, _locked(path))

    def hand_over(self) -> None:
        """Give our hold of the lock up: a chain's process that has begun holds it alone, else nobody does."""
        os.close(self.lock)

    def remove(self) -> None:
        """The chain has ended. What cannot be removed now is when the next one starts."""
        shutil.rmtree(self.path, ignore_errors=True)


def _locked(path: Path) -> int:
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _remove_if_left(path: Path) -> None:
    try:
        lock = _locked(path)
    except (BlockingIOError, FileNotFoundError):  # its chain lives, or has just removed it
        return
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)
