"""How long artifacts stay: until the last claim and slashing of every task that they serve have ended, and some days.

Then they go to the archive, where they can still be read, or away.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from deltaproof.errors import ArtifactMissing
from deltaproof.gateway.facts import ChainFacts
from deltaproof.gateway.ledger import Entry, Ledger
from deltaproof.protocol.types import TaskId
from deltaproof.store.depots import Depot

__all__ = ["Retention", "Swept"]

AT_ONCE = 200
COPY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Swept:
    """What one sweep did."""

    archived: int
    removed: int


class Retention:
    """Sweeps one store."""

    def __init__(
        self, facts: ChainFacts, depot: Depot, archive: Depot | None, ledger: Ledger, folder: Path, keep_seconds: float
    ) -> None:
        """`folder`: where an artifact lies on its way to the archive."""
        self._facts, self._depot, self._archive, self._ledger = facts, depot, archive, ledger
        self._folder, self._keep = folder, keep_seconds

    def sweep(self) -> Swept:
        """Archive or remove up to 200 artifacts whose time is over. Raises ChainError, ArtifactError."""
        over = [task for task in self._ledger.tasks() if self._is_over(task)]
        if not over:
            return Swept(0, 0)
        entries = self._ledger.held_only_by(over, time.time() - self._keep, AT_ONCE)
        for entry in entries:
            if self._archive is None:
                self._depot.remove(entry.path)
                self._ledger.forget(entry.path)
            else:
                self._move(entry, self._archive)
        moved = len(entries) if self._archive else 0
        return Swept(moved, len(entries) - moved)

    def _is_over(self, task_id: TaskId) -> bool:
        task = self._facts.task(task_id)
        return task.closes_at is not None and task.now >= task.closes_at + self._keep

    def _move(self, entry: Entry, archive: Depot) -> None:
        """Copy, see that the copy has arrived, and only then remove."""
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".archive") as copy:
            try:
                for start in range(0, entry.size, COPY_BYTES):
                    copy.write(self._depot.read_range(entry.path, start, COPY_BYTES))
            except ArtifactMissing:
                self._ledger.forget(entry.path)
                return
            copy.flush()
            archive.take(entry.path, Path(copy.name))
        if archive.size(entry.path) == entry.size:
            self._ledger.archive(entry.path)
            self._depot.remove(entry.path)
