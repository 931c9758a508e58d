"""How long artifacts stay: until the last claim and slashing of every task that they serve have ended, and some days.

Then they go to the archive, where they can still be read, or away.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from deltaproof.errors import ArtifactMissing, StoreUnavailable
from deltaproof.gateway.facts import ChainFacts
from deltaproof.gateway.ledger import Entry, Ledger
from deltaproof.gateway.refusals import RequestRefused
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
        self,
        facts: ChainFacts,
        depot: Depot,
        archive: Depot | None,
        ledger: Ledger,
        folder: Path,
        keep_seconds: float,
        only_one: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        """`folder`: where an artifact lies on its way to the archive. `only_one`: see `Intake.only_one`."""
        self._facts, self._depot, self._archive, self._ledger = facts, depot, archive, ledger
        self._folder, self._keep, self._only_one = folder, keep_seconds, only_one

    def sweep(self) -> Swept:
        """Archive or remove up to 200 artifacts whose time is over. Raises ChainError, and the first ArtifactError
        after all were tried: one that cannot be taken away keeps no other there."""
        over = [task for task in self._ledger.tasks() if self._is_over(task)]
        if not over:
            return Swept(0, 0)
        swept, errors = 0, list[StoreUnavailable]()
        for entry in self._ledger.held_only_by(over, time.time() - self._keep, AT_ONCE):
            # Another task may have come to hold it since: who was told that it stands must find it.
            with self._only_one(entry.path):
                if not self._ledger.is_held_only_by(over, entry.path):
                    continue
                try:
                    self._take_away(entry)
                except StoreUnavailable as error:
                    errors.append(error)
                else:
                    swept += 1
        if errors:
            raise errors[0]
        return Swept(swept, 0) if self._archive else Swept(0, swept)

    def _take_away(self, entry: Entry) -> None:
        if self._archive is None:
            self._depot.remove(entry.path)
            self._ledger.forget(entry.path)
        else:
            self._move(entry, self._archive)

    def _is_over(self, task_id: TaskId) -> bool:
        try:
            task = self._facts.task(task_id)
        except RequestRefused:
            return False  # the node lags, or a reorganisation took the task away: maybe not for long
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
