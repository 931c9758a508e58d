"""What the process does that speaks with a Ray cluster: it places actors, gives them jobs, and makes good what is lost.

Jobs wait in the cluster's object store. An actor keeps its model. One that dies is started anew by Ray, where there is
room, and what it had goes to others; nodes that come later are used.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

from deltaproof.errors import is_accelerator_failure
from deltaproof.tuning.errors import WorkersLost

__all__ = ["RayPlan", "Saying", "drive"]

TRIES = 3
"""How often a job is given to workers that die of it on nodes that live."""
AHEAD = 2
"""Jobs of a worker: the next one travels while it computes."""
PAUSE_SECONDS = 1.0
LOOK_SECONDS = 0.1
BEAT_SECONDS = 5.0
KNOCK_SECONDS = 10.0

Saying = tuple[str, int, int]
"""What the parent says, by number and work: "work" and "job", both with bytes, "forget", "drop", and in the end "end".
"""
Told = queue.SimpleQueue[tuple[Saying, bytes]]


@dataclass(frozen=True)
class RayPlan:
    """Where workers are, how many, and how long to wait for a place for them and for an answer, seconds."""

    address: str
    workers: int
    gpus: int
    patience: float
    job_seconds: float


def drive(pipe: Connection, plan: RayPlan) -> None:
    """What the process that speaks with the cluster does, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    os.dup2(2, 1)  # Ray prints on stdout, where a command's JSON goes
    told: Told = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(pipe, told), daemon=True).start()
    try:
        _knock(plan.address)
        import ray

        ray.init(address=plan.address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        remedy = (
            "start one with `ray start --head`, join it with `ray start --address=...`, or correct --ray-address; one "
            "that asks for a token finds it here if RAY_AUTH_MODE=token is set"
        )
        pipe.send(("lost", f"no Ray cluster answers at {plan.address} ({_line(error)}): {remedy}"))
        return
    try:
        _Driver(ray, pipe, plan, told).run()
    except WorkersLost as error:
        pipe.send(("lost", str(error)))
    ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def _hear(pipe: Connection, told: Told) -> None:
    try:
        while True:
            saying = pipe.recv()
            told.put((saying, pipe.recv_bytes() if saying[0] in ("work", "job") else b""))
    except (EOFError, OSError):
        told.put((("end", 0, 0), b""))
        time.sleep(PAUSE_SECONDS * 10)
        os._exit(1)  # a call of Ray hangs


@dataclass
class _Seat:
    """An actor. `probe` is asked for while it is not known to be placed; `busy` are its jobs, the first one runs."""

    actor: Any
    probe: Any = None
    again_at: float = 0.0
    node: str = ""
    life: str = ""
    """Which of the processes that were its actor was there last."""
    busy: deque[int] = field(default_factory=deque)
    since: float = 0.0
    suspect: int | None = None
    """The job that ran when it was lost."""

    @property
    def placed(self) -> bool:
        return self.probe is None and not self.again_at


@dataclass
class _Job:
    work: int
    stored: Any
    deaths: int = 0


class _Driver:
    def __init__(self, ray: Any, pipe: Connection, plan: RayPlan, told: Told) -> None:
        self._ray, self._pipe, self._plan, self._told = ray, pipe, plan, told
        self._jobs: dict[int, _Job] = {}
        self._queue: list[int] = []
        self._running: dict[Any, tuple[_Seat, int]] = {}
        self._problem = "no worker was placed"
        self._works: dict[int, Any] = {}
        remote = ray.remote(num_cpus=1, num_gpus=plan.gpus, max_restarts=-1, scheduling_strategy="SPREAD")(_Actor)
        self._new = partial(remote.remote, list(sys.path))
        self._seats = [_Seat(self._new()) for _ in range(plan.workers)]
        for seat in self._seats:
            seat.probe = seat.actor.where.remote()
        self._seated = self._beat = time.monotonic()

    def run(self) -> None:
        """Until the parent has ended. Raises WorkersLost."""
        try:
            while self._hear():
                self._look_after()
                self._hand_out()
                self._collect()
        finally:
            for seat in self._seats:
                self._ray.kill(seat.actor)

    def _hear(self) -> bool:
        """Whether the parent still is there. Without jobs there is nothing to wait for but its next word."""
        while True:
            try:
                (what, number, work), content = self._told.get(block=not self._jobs)
            except queue.Empty:
                return True
            if what == "end":
                return False
            if what == "work":
                self._works[work] = self._ray.put(content)
            elif what == "drop":
                self._works.pop(work, None)
            elif what == "job":
                if not self._jobs:
                    self._seated = time.monotonic()
                self._jobs[number] = _Job(work, self._ray.put(content))
                self._queue.append(number)
            elif number in self._jobs:  # "forget"
                del self._jobs[number]
                self._queue = [one for one in self._queue if one != number]

    def _look_after(self) -> None:
        now = time.monotonic()
        for seat in self._seats:
            if seat.again_at and now >= seat.again_at:
                seat.again_at, seat.probe = 0.0, seat.actor.where.remote()
            if seat.busy and now - seat.since > self._plan.job_seconds:
                self._ray.kill(seat.actor, no_restart=False)
                self._lose(seat, f"a worker was silent for {self._plan.job_seconds:.0f} s")
        if any(seat.placed for seat in self._seats):
            self._seated = now
        elif now - self._seated > self._plan.patience:
            raise WorkersLost(self._nowhere())
        if now - self._beat > BEAT_SECONDS:
            self._beat = now
            self._pipe.send(("alive", 0))

    def _nowhere(self) -> str:
        known = [node for node in self._ray.nodes() if node["Alive"]]
        cpus, gpus = (sum(node["Resources"].get(what, 0) for node in known) for what in ("CPU", "GPU"))
        needs = f"a CPU{' and a GPU' if self._plan.gpus else ''}"
        return (
            f"the Ray cluster at {self._plan.address} had no place for a worker, which needs {needs}, for "
            f"{self._plan.patience:.0f} s: Ray counts {len(known)} nodes with {cpus:g} CPUs and {gpus:g} GPUs "
            f"({self._problem}). Start nodes (`ray start --address=...`), or free what others use"
        )

    def _hand_out(self) -> None:
        places = [seat for seat in self._seats if seat.placed]
        while self._queue and places:
            seat = min(places, key=lambda one: len(one.busy))
            if len(seat.busy) >= AHEAD:
                return
            number = self._queue.pop(0)
            if not seat.busy:
                seat.since = time.monotonic()
            seat.busy.append(number)
            job = self._jobs[number]
            # In a dictionary Ray leaves them where they are: an actor takes one once, not with every job.
            self._running[seat.actor.answer.remote(job.work, self._works, job.stored)] = (seat, number)

    def _collect(self) -> None:
        probes = {seat.probe: seat for seat in self._seats if seat.probe is not None}
        waiting = [*self._running, *probes]
        if not waiting:
            time.sleep(LOOK_SECONDS)
            return
        ready, _ = self._ray.wait(waiting, num_returns=1, timeout=LOOK_SECONDS)
        for reference in ready:
            if reference in probes:
                self._seat(probes[reference])
            elif reference in self._running:
                self._answered(reference)

    def _seat(self, seat: _Seat) -> None:
        try:
            node, life, versions = self._ray.get(seat.probe)
        except self._ray.exceptions.RayError as error:
            self._lose(seat, _line(error))
            if isinstance(error, self._ray.exceptions.ActorDiedError):
                seat.actor = self._new()  # this one does not come back
            return
        if versions != _versions():
            raise WorkersLost(f"a node of the Ray cluster has {versions} where this machine has {_versions()}: "
                              "install the same there, or verdicts may differ")  # fmt: skip
        seat.probe = None
        # A call that came while an actor started anew fails as well, and killed nobody.
        if seat.suspect is not None and node == seat.node and life != seat.life:
            self._died(seat.suspect)
        seat.suspect, seat.node, seat.life = None, node, life

    def _died(self, number: int) -> None:
        """A worker died of a job, and its node lives."""
        job = self._jobs.get(number)
        if job is None:
            return
        job.deaths += 1
        if job.deaths >= TRIES:
            raise WorkersLost(
                f"workers on the Ray cluster died {TRIES} times of one job, most likely for want of memory "
                f"({self._problem}): give them fewer --workers a node, or nodes more memory"
            )

    def _answered(self, reference: Any) -> None:
        seat, number = self._running.pop(reference)
        try:
            kind, answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._lose(seat, _line(error), number)
            return
        if kind == "broken":
            # A GPU that failed answers nothing any more before its process begins anew.
            self._ray.kill(seat.actor, no_restart=False)
            self._lose(seat, pickle.loads(answer), number)
            return
        seat.busy.remove(number)
        seat.since = time.monotonic()
        job = self._jobs.pop(number, None)
        if job is not None:
            self._pipe.send(("answer", number))
            self._pipe.send_bytes(answer)
            self._pipe.send_bytes(self._ray.get(job.stored))

    def _lose(self, seat: _Seat, problem: str, suspect: int | None = None) -> None:
        """Its jobs go to others, and it is looked for again: on its node, or where Ray starts it anew."""
        self._problem = problem
        seat.probe, seat.again_at = None, time.monotonic() + PAUSE_SECONDS
        if seat.busy:
            seat.suspect = seat.busy[0] if suspect is None else suspect
        self._queue = sorted({*self._queue, *(number for number in seat.busy if number in self._jobs)})
        self._running = {r: place for r, place in self._running.items() if place[0] is not seat}
        seat.busy.clear()


class _Actor:
    """A worker. It makes what it answers with at the first job of its kind, so that placing it takes no time."""

    def __init__(self, path: list[str]) -> None:
        sys.path += [place for place in path if place not in sys.path]
        self._works: dict[int, Callable[[Any], Any]] = {}
        self._life = secrets.token_hex(8)

    def where(self) -> tuple[str, str, str]:
        """Its node, its process, and the versions there."""
        import ray

        return ray.get_runtime_context().get_node_id(), self._life, _versions()

    def answer(self, work: int, works: dict[int, Any], job: bytes) -> tuple[str, bytes]:
        """`answered` with ("found" or "error", what it is), or `broken` with words; pickled."""
        import ray
        import torch

        try:
            self._works = {kept: made for kept, made in self._works.items() if kept in works}
            if work not in self._works:
                torch.set_num_threads(1)
                make, arguments = pickle.loads(ray.get(works[work]))
                self._works[work] = make(*arguments)
            return "answered", pickle.dumps(("found", self._works[work](pickle.loads(job))), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            if is_accelerator_failure(error):
                return "broken", pickle.dumps(f"the GPU failed: {_line(error)}")
            error.add_note(f"in a worker:\n{traceback.format_exc()}")
            return "answered", _pickled(error)


def _pickled(error: Exception) -> bytes:
    try:
        content = pickle.dumps(("error", error))
        pickle.loads(content)
    except Exception:  # some errors do not survive it
        return pickle.dumps(("error", RuntimeError(f"{type(error).__name__}: {error}")))
    return content


def _versions() -> str:
    return f"deltaproof {version('deltaproof')}, torch {version('torch').partition('+')[0]}"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
