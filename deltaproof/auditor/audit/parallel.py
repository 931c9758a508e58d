"""Rounds audited by several processes: each opens index, store and endpoint for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.auditor.audit.check import Check
from deltaproof.auditor.audit.run import Audit, Progress
from deltaproof.auditor.audit.signatures import Equation
from deltaproof.auditor.facts.stores import AnnouncedStores, Source
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.index.rpc import Rpc
from deltaproof.auditor.index.schema import open_database
from deltaproof.reporting import counted
from deltaproof.store import open_store
from deltaproof.store.readers import Keyring
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.numerics.workers import new_processes

__all__ = ["Origin", "ProcessPool"]

ROUNDS_AT_ONCE = 20


@dataclass(frozen=True)
class Origin:
    """Where everything is, in words that another process understands. The database must not be in memory."""

    database: str
    store: str | None
    """None for what each task's sponsor announced."""
    rpc: str | None
    reading_key: Path | None = None
    """What opens sealed openings; see `ReadingKey.load`."""


@dataclass(frozen=True)
class ProcessPool:
    """A `Pool` of processes. The outcome is that of one process, in the same order."""

    origin: Origin
    workers: int
    machine: Machine = HERE
    """What each process computes with; how many there are is `workers`."""

    def __call__(
        self, audit: Audit, task_id: int, numbers: Sequence[int], progress: Progress
    ) -> Iterator[Check | Equation]:
        parts = [numbers[start : start + ROUNDS_AT_ONCE] for start in range(0, len(numbers), ROUNDS_AT_ONCE)]
        started = new_processes(self.machine.device)
        with ProcessPoolExecutor(
            self.workers, started, initializer=_open, initargs=(self.origin, audit.options, self.machine)
        ) as pool:
            jobs = [pool.submit(_check, task_id, tuple(part)) for part in parts]
            for done, job in enumerate(jobs):
                progress(f"task {task_id}: {done * ROUNDS_AT_ONCE} of {counted(len(numbers), 'round')}")
                yield from job.result()


_audits: list[Audit] = []


def _open(origin: Origin, options: AuditOptions, machine: Machine) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    rpc = Rpc(origin.rpc) if origin.rpc else None
    index, keyring = Index(open_database(origin.database)), Keyring.load(origin.reading_key)
    store: Source = None
    if origin.store:
        store = open_store(origin.store).reading_with(keyring)
    elif rpc is not None:
        store = AnnouncedStores(index, rpc, keyring)
    _audits[:] = [Audit(index, store, rpc, options, machine=machine)]


def _check(task_id: int, numbers: tuple[int, ...]) -> list[Check | Equation]:
    return list(_audits[0].check_rounds(task_id, numbers, lambda _: None))
