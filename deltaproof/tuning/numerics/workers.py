"""Workers that each hold what they compute with, such as a model, and answer jobs in the order of the jobs.

In this process, in others of this machine, or as actors on a Ray cluster. A worker that dies is replaced, and its jobs
run again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from deltaproof.errors import DeltaproofError
from deltaproof.extras import need
from deltaproof.tuning.numerics.machine import Machine

__all__ = ["Workers", "WorkersLost", "new_processes"]

J = TypeVar("J")
R = TypeVar("R")
Work = Callable[[J], R]
LOST_NODE_SECONDS = 120.0
"""How long a job is tried on a Ray cluster that loses the workers which have it."""
LOADED = ["deltaproof.tuning.training.workbench", "peft", "transformers.models.auto.modeling_auto"]
"""What workers need; it takes seconds to import."""
TRIES = 3
"""How often a job is given to workers that die of it before nobody tries any more."""


class WorkersLost(DeltaproofError, OSError):
    """Workers died again and again, most likely for want of memory. It is nobody's fault but the machine's."""


class _Pool(Protocol):
    def submit(self, job: Any) -> Callable[[], Any]: ...

    def close(self) -> None: ...


class Workers(Generic[J, R]):
    """A context manager; workers start with the first job. `make(*arguments)` gives each what it answers jobs with.

    `make`, its arguments, jobs and answers travel between processes of ours, so they must pickle. Nothing of anybody
    else's is unpickled.
    """

    def __init__(self, machine: Machine, make: Callable[..., Work[J, R]], *arguments: Any) -> None:
        self._machine, self._make, self._arguments = machine, make, arguments
        self._pool: _Pool | None = None

    @classmethod
    def holding(cls, machine: Machine, work: Work[J, R]) -> Workers[J, R]:
        """Workers that answer with `work` itself. It travels once to each, and loads its models where it arrives."""
        return cls(machine, _itself, work)

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
        waiting: deque[tuple[J, Callable[[], R]]] = deque()
        source, ended = iter(jobs), False
        while True:
            while not ended and len(waiting) <= self._machine.workers:
                try:
                    job = next(source)
                except StopIteration:
                    ended = True
                else:
                    waiting.append((job, self._submit(job)))
            if not waiting:
                return
            job, answer = waiting.popleft()
            try:
                found = answer()
            except BrokenProcessPool:
                found = self._again(job)
                waiting = deque((later, self._submit(later)) for later, _ in waiting)
            yield job, found

    def _submit(self, job: J) -> Callable[[], R]:
        for _ in range(TRIES):
            try:
                return self._started().submit(job)
            except BrokenProcessPool:
                self.close()
        raise WorkersLost(_LOST)

    def _again(self, job: J) -> R:
        for _ in range(1, TRIES):
            self.close()
            try:
                return self._submit(job)()
            except BrokenProcessPool:
                continue
        raise WorkersLost(_LOST)

    def _started(self) -> _Pool:
        if self._pool is None:
            self._pool = _POOLS[self._machine.backend](self._machine, self._make, self._arguments)
        return self._pool


_LOST = "worker processes died again and again; give them fewer --workers, or the machine more memory"


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


class _Inline:
    """No workers: a job is done here when its answer is asked for."""

    def __init__(self, machine: Machine, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
        self._work = make(*arguments)

    def submit(self, job: Any) -> Callable[[], Any]:
        return partial(self._work, job)

    def close(self) -> None:
        """Nothing was started."""


class _Processes:
    def __init__(self, machine: Machine, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
        threads = max(1, torch.get_num_threads() // machine.workers)
        self._pool = ProcessPoolExecutor(
            machine.workers, new_processes(machine.device), initializer=_start, initargs=(threads, make, arguments)
        )  # fmt: skip

    def submit(self, job: Any) -> Callable[[], Any]:
        future: Future[Any] = self._pool.submit(_answer, job)
        return future.result

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


_held: list[Work[Any, Any]] = []
"""What this worker process answers with."""


def _start(threads: int, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _held[:] = [make(*arguments)]


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(job: Any) -> Any:
    return _held[0](job)


class _Actor:
    def __init__(self, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
        torch.set_num_threads(1)
        self._work = make(*arguments)

    def answer(self, job: Any) -> Any:
        return self._work(job)


class _OnRay:
    """Actors that keep the model; Ray starts a lost one anew on a node that lives, and others take its jobs."""

    def __init__(self, machine: Machine, make: Callable[..., Work[Any, Any]], arguments: tuple[Any, ...]) -> None:
        self._ray = need("ray")
        if not self._ray.is_initialized():
            self._ray.init(address=machine.ray_address, log_to_driver=False)
        gpus = int(machine.device.startswith("cuda"))
        remote: Any = self._ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1)(_Actor)
        self._actors = deque(remote.remote(make, arguments) for _ in range(machine.workers))

    def submit(self, job: Any) -> Callable[[], Any]:
        first = self._next(job)

        def answer() -> Any:
            reference, patience = first, time.monotonic() + LOST_NODE_SECONDS
            while True:
                try:
                    return self._ray.get(reference)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except self._ray.exceptions.RayError as error:
                    # A cluster needs a while to see that a node is gone.
                    if time.monotonic() > patience:
                        raise WorkersLost(f"the Ray cluster lost its workers: {error}") from error
                    time.sleep(1.0)
                    reference = self._next(job)

        return answer

    def _next(self, job: Any) -> Any:
        self._actors.rotate(-1)
        return self._actors[0].answer.remote(job)

    def close(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)


_POOLS: dict[str, Callable[..., _Pool]] = {"inline": _Inline, "processes": _Processes, "ray": _OnRay}


def _itself(work: Work[J, R]) -> Work[J, R]:
    return work
