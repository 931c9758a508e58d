"""Workers that each hold what they compute with, such as a model, and answer jobs in the order of the jobs.

In this process, in others of this machine, or as actors on a Ray cluster. A worker that dies or hangs, or whose GPU
fails, is replaced, and its jobs run again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from deltaproof.errors import is_accelerator_failure
from deltaproof.tuning.errors import WorkersLost
from deltaproof.tuning.numerics._on_ray import OnRay
from deltaproof.tuning.numerics.machine import Machine

__all__ = ["Workers", "new_processes"]

J = TypeVar("J")
R = TypeVar("R")
Work = Callable[[J], R]
LOADED = ["deltaproof.tuning.training.workbench", "peft", "transformers.models.auto.modeling_auto"]
"""What workers need; it takes seconds to import."""
TRIES = 3
"""How often a job is given to workers that die of it before nobody tries any more."""
JOB_SECONDS = 3600.0
"""A worker that is silent about a job for so long hangs, and is replaced."""


class _BeginAnew(Exception):
    """Workers that have to begin anew, and why; their jobs as well."""


class _Given(Protocol):
    """A job that a pool has."""

    def answer(self) -> tuple[Any, Any]:
        """The job with its answer. Raises what the work raises, WorkersLost, and _BeginAnew."""

    def again(self) -> Any:
        """The job, if `answer` may raise _BeginAnew."""

    def forget(self) -> None:
        """Nobody wants the answer any more."""


class _Pool(Protocol):
    def submit(self, job: Any) -> _Given: ...

    def close(self) -> None: ...


class Workers(Generic[J, R]):
    """A context manager; workers start with the first job. `make(*arguments)` gives each what it answers jobs with.

    `make`, its arguments, jobs and answers travel between processes of ours, so they must pickle. Nothing of anybody
    else's is unpickled.
    """

    def __init__(
        self,
        machine: Machine,
        make: Callable[..., Work[J, R]],
        *arguments: Any,
        told: Callable[[int], None] | None = None,
    ) -> None:
        """`told` hears after each answer how many there were."""
        self._machine, self._make, self._arguments = machine, make, arguments
        self._pool: _Pool | None = None
        self._told, self._answered = told, 0

    @classmethod
    def holding(cls, machine: Machine, work: Work[J, R], told: Callable[[int], None] | None = None) -> Workers[J, R]:
        """Workers that answer with `work` itself. It travels once to each, and loads its models where it arrives."""
        return cls(machine, _itself, work, told=told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; the next job would start others."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def map(self, jobs: Iterable[J]) -> Iterator[tuple[J, R]]:
        """Each job with its answer, in order. Jobs are taken as workers need them: few wait, and few were in vain.

        Raises what the work raises, and WorkersLost.
        """
        waiting: deque[_Given] = deque()
        source, ended = iter(jobs), False
        try:
            while True:
                while not ended and len(waiting) <= self._machine.workers:
                    try:
                        job = next(source)
                    except StopIteration:
                        ended = True
                    else:
                        waiting.append(self._submit(job))
                if not waiting:
                    return
                given = waiting.popleft()
                try:
                    found = given.answer()
                except _BeginAnew as broken:
                    found = self._again(given.again(), broken)
                    waiting = deque(self._submit(later.again()) for later in waiting)
                self._answered += 1
                if self._told is not None:
                    self._told(self._answered)
                yield found
        except WorkersLost:
            self.close()
            raise
        finally:
            for given in waiting:
                given.forget()

    def _submit(self, job: J) -> _Given:
        for _ in range(TRIES):
            try:
                return self._started().submit(job)
            except _BeginAnew as broken:
                self.close()
                last = broken
        raise _lost(last)

    def _again(self, job: J, last: _BeginAnew) -> tuple[J, R]:
        for _ in range(1, TRIES):
            self.close()
            try:
                return self._submit(job).answer()
            except _BeginAnew as broken:
                last = broken
        raise _lost(last)

    def _started(self) -> _Pool:
        if self._pool is None:
            self._pool = _POOLS[self._machine.backend](self._machine, self._make, self._arguments)
        return self._pool


def _lost(last: _BeginAnew) -> WorkersLost:
    return WorkersLost(f"workers failed again and again: {last}")


def new_processes(device: str) -> BaseContext:
    """How processes that compute on a device start.

    For the processor each is forked from one that has loaded the libraries, once for all of them, and computed nothing:
    this process has used torch threads, and forked from here they could hang. A GPU's driver survives no fork at all.
    """
    if device != "cpu":
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(LOADED)
    return forking


@dataclass(frozen=True)
class _Here:
    work: Work[Any, Any]
    job: Any

    def answer(self) -> tuple[Any, Any]:
        return self.job, self.work(self.job)

    def again(self) -> Any:
        return self.job

    def forget(self) -> None:
        """Nothing was begun."""


class _Inline:
    """No workers: a job is done here when its answer is asked for."""

    def __init__(self, machine: Machine, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
        self._work = make(*arguments)

    def submit(self, job: Any) -> _Given:
        return _Here(self._work, job)

    def close(self) -> None:
        """Nothing was started."""


@dataclass(frozen=True)
class _InProcess:
    future: Future[Any]
    job: Any

    def answer(self) -> tuple[Any, Any]:
        try:
            return self.job, self.future.result(JOB_SECONDS)
        except BrokenProcessPool as error:
            raise _BeginAnew(_DIED) from error
        except TimeoutError as error:
            if self.future.done():
                raise  # the work's own
            raise _BeginAnew(f"a worker was silent about its job for {JOB_SECONDS:.0f} s") from error

    def again(self) -> Any:
        return self.job

    def forget(self) -> None:
        self.future.cancel()


_DIED = "a worker process died, most likely for want of memory; give them fewer --workers, or the machine more memory"


class _Processes:
    def __init__(self, machine: Machine, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
        threads = max(1, torch.get_num_threads() // machine.workers)
        made_from = pickle.dumps((make, arguments))
        self._pool = ProcessPoolExecutor(
            machine.workers, new_processes(machine.device), initializer=_start, initargs=(threads, made_from)
        )  # fmt: skip

    def submit(self, job: Any) -> _Given:
        try:
            return _InProcess(self._pool.submit(_answer, job), job)
        except BrokenProcessPool as error:
            raise _BeginAnew(_DIED) from error

    def close(self) -> None:
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        # One that hangs, or whose GPU failed, would keep its memory from those that come after it.
        for process in processes:
            process.kill()


_held: list[Work[Any, Any]] = []
"""What this worker process answers with."""
_made_from: list[bytes] = []


def _start(threads: int, made_from: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _made_from[:] = [made_from]


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(job: Any) -> Any:
    try:
        if not _held:  # made here, so that what is wrong with it is told as a job's error is
            make, arguments = pickle.loads(_made_from[0])
            _held[:] = [make(*arguments)]
        return _held[0](job)
    except Exception as error:
        if is_accelerator_failure(error):
            # Nothing works on the device any more before the process begins anew.
            raise _BeginAnew(f"the GPU failed: {error}") from error
        raise


def _on_ray(machine: Machine, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> OnRay:
    return OnRay(machine, make, arguments, new_processes("cpu"))


_POOLS: dict[str, Callable[..., _Pool]] = {"inline": _Inline, "processes": _Processes, "ray": _on_ray}


def _itself(work: Work[J, R]) -> Work[J, R]:
    return work
