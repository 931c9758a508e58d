"""What was written through a gateway, by whom, for which round of which task: for quotas and retention.

The artifacts themselves are in the store. A ledger that is lost costs the quotas of running rounds and the retention of
what it knew; nothing else reads it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltaproof.errors import UsageError
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.store.paths import Kind

__all__ = ["Entry", "Ledger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS artifacts (
    path TEXT PRIMARY KEY, sha256 BLOB NOT NULL, size INTEGER NOT NULL, version INTEGER NOT NULL,
    written_at REAL NOT NULL, archived INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (
    path TEXT NOT NULL, task INTEGER NOT NULL, round INTEGER NOT NULL, account TEXT NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (path, task, round, account)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS holds_by_writer ON holds (task, round, account);
"""


@dataclass(frozen=True)
class Entry:
    """One artifact as it was written last."""

    path: str
    sha256: Digest32
    size: int
    version: int
    written_at: float
    archived: bool


class Ledger:
    """An SQLite file. Safe to share between threads of one process."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError if the file cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise UsageError(f"the gateway's ledger {path} cannot be used: {error}") from error

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()

    def entry(self, path: str) -> Entry | None:
        """What is known of an artifact."""
        rows = self._rows(
            "SELECT path, sha256, size, version, written_at, archived FROM artifacts WHERE path = ?", path
        )
        return _entry(rows[0]) if rows else None

    def record(self, entry: Entry, task: TaskId, round_: RoundIndex, account: Address) -> None:
        """An artifact stands, and for whom."""
        with self._changing() as database:
            database.execute(
                "INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?, ?, ?)",
                (entry.path, entry.sha256, entry.size, entry.version, entry.written_at, entry.archived),
            )
            database.execute(
                "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?, ?)", (entry.path, task, round_, account, entry.size)
            )

    def written(self, task: TaskId, round_: RoundIndex, account: Address, *, but: str) -> int:
        """Bytes that an account has written in a round, without what stands under the path `but`."""
        (row,) = self._rows(
            "SELECT COALESCE(SUM(size), 0) FROM holds WHERE task = ? AND round = ? AND account = ? AND path != ?",
            task, round_, account, but,
        )  # fmt: skip
        return int(row[0])

    def count(self, kind: Kind, task: TaskId, round_: RoundIndex, account: Address, *, but: str) -> int:
        """How many artifacts of a kind an account has written in a round, without the one under the path `but`."""
        (row,) = self._rows(
            "SELECT COUNT(*) FROM holds WHERE task = ? AND round = ? AND account = ? AND path != ? AND path LIKE ?",
            task, round_, account, but, f"{kind.value}/%",
        )  # fmt: skip
        return int(row[0])

    def totals(self) -> tuple[int, int]:
        """How many artifacts stand in the store itself, and their bytes."""
        (row,) = self._rows("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM artifacts WHERE archived = 0")
        return int(row[0]), int(row[1])

    def tasks(self) -> list[TaskId]:
        """Tasks that hold anything which is not archived."""
        rows = self._rows(
            "SELECT DISTINCT task FROM holds JOIN artifacts USING (path) WHERE archived = 0 ORDER BY task"
        )
        return [TaskId(row[0]) for row in rows]

    def held_only_by(self, tasks: Sequence[TaskId], before: float, limit: int) -> list[Entry]:
        """Up to `limit` artifacts, not archived, that no other task holds and that were written before a time."""
        marks = ",".join("?" * len(tasks))
        rows = self._rows(
            "SELECT path, sha256, size, version, written_at, archived FROM artifacts"
            " WHERE archived = 0 AND written_at < ?"
            f" AND NOT EXISTS (SELECT 1 FROM holds WHERE holds.path = artifacts.path AND task NOT IN ({marks}))"
            " ORDER BY path LIMIT ?",
            before, *tasks, limit,
        )  # fmt: skip
        return [_entry(row) for row in rows]

    def is_held_only_by(self, tasks: Sequence[TaskId], path: str) -> bool:
        """Whether no other task holds an artifact."""
        marks = ",".join("?" * len(tasks))
        return not self._rows(f"SELECT 1 FROM holds WHERE path = ? AND task NOT IN ({marks}) LIMIT 1", path, *tasks)

    def archive(self, path: str) -> None:
        """An artifact stands in the archive only."""
        with self._changing() as database:
            database.execute("UPDATE artifacts SET archived = 1 WHERE path = ?", (path,))

    def forget(self, path: str) -> None:
        """An artifact stands nowhere any more."""
        with self._changing() as database:
            database.execute("DELETE FROM artifacts WHERE path = ?", (path,))
            database.execute("DELETE FROM holds WHERE path = ?", (path,))

    def _rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(query, arguments).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _entry(row: tuple[Any, ...]) -> Entry:
    path, digest, size, version, written_at, archived = row
    return Entry(path, Digest32(digest), size, version, written_at, bool(archived))
