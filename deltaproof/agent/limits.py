"""What a role may use at most of its owner's: stake, disk and memory. What is offered for gas: see `SenderPolicy`.

- Stake beyond the limit is never deposited (`lock_stake`): a role does not join, or does not fill up, and says why.
- Disk: heavy work that could outgrow the limit does not begin. It waits until `Pruner` has made room, or ends the role
  before anything is staked if not even an empty home would do.
- Memory: the kernel refuses more (`RLIMIT_DATA`), for the process and each of its workers. Work that fails for want of
  it waits; a model that does not even load ends the role.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

from deltaproof.agent.homes import MIB, size_on_disk
from deltaproof.agent.watching import MOST_LOG_BYTES
from deltaproof.chain.contracts.money import Amount
from deltaproof.errors import OverLimit, UsageError
from deltaproof.memory import data_bytes
from deltaproof.reporting import counted

__all__ = ["GIB", "NO_DISK_LIMIT", "NO_LIMITS", "DiskLimit", "Limits", "limit_memory"]

GIB = 2**30
"""Bytes."""
WORKING_ROOM = 64 * MIB
"""Memory that a role needs besides what its libraries took, at the very least."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit of ours. `stake` over all the account's roles; `disk` of the home and `memory` of all processes
    together in GiB."""

    stake: Amount | None = None
    disk: float | None = None
    memory: float | None = None
    processes: int = 1


NO_LIMITS = Limits()
"""Whatever the machine and the purse give."""


class DiskLimit:
    """What may lie in a home; its logs count as large as they may grow."""

    def __init__(self, home: Path, most_gib: float | None = None) -> None:
        """Raises UsageError for a limit that the logs alone would break."""
        self._home, self._most_gib = home, most_gib
        self._most = None if most_gib is None else int(most_gib * GIB)
        if self._most is not None and self._most <= MOST_LOG_BYTES:
            raise UsageError(f"--max-disk {most_gib:g}: logs alone may take {MOST_LOG_BYTES / GIB:.3f} GiB; give more")

    def require(self, size: int, what: str) -> None:
        """Raises OverLimit if so many bytes more might not fit; `what` says what for."""
        if self._most is None or size <= 0:
            return
        left = self._most - self._used()
        if size > left:
            raise OverLimit(
                f"{what} takes up to {size / MIB:.1f} MiB, and --max-disk {self._most_gib:g} GiB leaves "
                f"{max(left, 0) / MIB:.1f} of them; what no deadline needs is removed by itself; for more room raise "
                f"the limit or move what is not this role's out of {self._home}"
            )

    def require_ever(self, size: int, what: str) -> None:
        """Raises UsageError if not even an empty home would hold so many bytes."""
        if self._most is not None and size > self._most - MOST_LOG_BYTES:
            least = math.ceil(100 * (size + MOST_LOG_BYTES) / GIB) / 100
            raise UsageError(
                f"{what} takes up to {size / MIB:.1f} MiB, logs {MOST_LOG_BYTES / MIB:.0f} MiB: --max-disk "
                f"{self._most_gib:g} is too little for this task, it needs {least:.2f} GiB at least"
            )

    def _used(self) -> int:
        logs = self._home / "logs"
        growing = max(1, len(list(logs.glob("*.jsonl"))))
        return size_on_disk(self._home) + max(0, growing * MOST_LOG_BYTES - size_on_disk(logs))


NO_DISK_LIMIT = DiskLimit(Path())
"""As much as the disk gives."""


def limit_memory(most_gib: float, processes: int) -> None:
    """Let the kernel refuse this process, and each it starts, more than an equal part of the limit.

    Counts what a process may write to, which is what it uses or somewhat more. Raises UsageError where the system
    cannot do so, and if the part is less than what is in use already.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError("--max-memory needs Linux; elsewhere limit the container or the service")
    import resource  # Unix only

    part, used = int(most_gib * GIB) // processes, data_bytes()
    if part < used + WORKING_ROOM:
        least = processes * (used + WORKING_ROOM) / GIB
        raise UsageError(
            f"--max-memory {most_gib:g}: {counted(processes, 'process needs', 'processes need')} "
            f"{least:.2f} GiB before any model is loaded; give more, or fewer --workers"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (part, hard))
