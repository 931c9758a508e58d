"""Workers on a Ray cluster, as `Workers` uses them. A process of its own speaks with the cluster (`_ray_driver`).

Ray ends a process whose cluster's head is gone for a minute, and a call of Ray may hang: neither must happen to a role
that has staked money. All pools of this process share its workers: those for coalition values would find no place
beside those for replays.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.context import BaseContext
from typing import Any

from deltaproof.errors import UsageError
from deltaproof.extras import how_to_install
from deltaproof.tuning.errors import WorkersLost
from deltaproof.tuning.numerics._ray_driver import RayPlan, Saying, drive
from deltaproof.tuning.numerics.machine import Machine

__all__ = ["OnCluster", "OnRay"]

PATIENCE_SECONDS = 300.0
"""How long nothing need be placed on a cluster: one that scales itself takes minutes to start a node."""
JOB_SECONDS = 3600.0
"""A worker that is silent about a job for so long hangs, and is replaced."""
SILENT_SECONDS = 120.0
"""A driver that is silent for so long hangs, and is ended."""
END_SECONDS = 5.0
"""How long the process that speaks with the cluster may take to end its actors."""


class OnRay:
    """A pool for `Workers`. Jobs wait in the cluster's object store, not here: an answer brings its job along."""

    def __init__(
        self, machine: Machine, make: Callable[..., Any], arguments: tuple[Any, ...], processes: BaseContext
    ) -> None:
        if find_spec("ray") is None:
            raise UsageError(f"--backend ray needs Ray: {how_to_install('ray')}")
        gpus = int(machine.device.startswith("cuda"))
        self._plan = RayPlan(machine.ray_address, machine.workers, gpus, PATIENCE_SECONDS, JOB_SECONDS)
        self._made_from, self._processes = pickle.dumps((make, arguments)), processes
        self._cluster: _Connection | None = None
        self._work = 0

    def submit(self, job: Any) -> OnCluster:
        content = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
        number = next(_numbers)
        if self._cluster is None or self._cluster.lost or not self._cluster.give(self._work, number, content):
            # Its head may have ended while nobody asked for anything.
            self.close()
            self._cluster = _joined(self._plan, self._processes)
            self._work = self._cluster.begin(self._made_from)
            self._cluster.give(self._work, number, content)
        return OnCluster(self._cluster, number)

    def close(self) -> None:
        """The workers end if nobody else has work for them."""
        if self._cluster is not None:
            _left(self._cluster, self._work)
            self._cluster = None


@dataclass(frozen=True)
class OnCluster:
    """A job that the cluster has."""

    cluster: _Connection
    number: int

    def answer(self) -> tuple[Any, Any]:
        """The job with its answer. Raises what the work raised, and WorkersLost."""
        return self.cluster.answer(self.number)

    def again(self) -> Any:
        """What is lost on a cluster is given to others there."""
        raise AssertionError("a job on a cluster never comes back")

    def forget(self) -> None:
        """Nobody wants the answer any more."""
        self.cluster.forget(self.number)


class _Connection:
    """The process that speaks with a cluster, for all pools here."""

    def __init__(self, plan: RayPlan, processes: BaseContext) -> None:
        self.plan, self.lost, self.works = plan, False, set[int]()
        self._pipe, theirs = processes.Pipe()
        self._answers: dict[int, tuple[bytes, bytes]] = {}
        self._speaking, self._listening = threading.Lock(), threading.Lock()
        # mypy knows no Process of a context that is chosen later.
        self._driver: Any = processes.Process(target=drive, args=(theirs, plan), daemon=True)  # type: ignore[attr-defined]
        self._driver.start()
        theirs.close()

    def begin(self, made_from: bytes) -> int:
        """The number of a work that workers make from this."""
        work = next(_numbers)
        self.works.add(work)
        self._say(("work", work, work), made_from)
        return work

    def give(self, work: int, number: int, job: bytes) -> bool:
        """Whether the process that speaks with the cluster could still be told of a job."""
        return self._say(("job", number, work), job)

    def drop(self, work: int) -> None:
        """Nobody has jobs for a work any more."""
        self.works.discard(work)
        self._say(("drop", work, work))

    def forget(self, number: int) -> None:
        """See `OnCluster.forget`."""
        if self._answers.pop(number, None) is None:
            self._say(("forget", number, 0))

    def answer(self, number: int) -> tuple[Any, Any]:
        """See `OnCluster.answer`."""
        while True:
            with self._listening:
                if number in self._answers:
                    answer, job = self._answers.pop(number)
                    break
                self._listen()
        kind, found = pickle.loads(answer)
        if kind == "error":
            raise found
        return pickle.loads(job), found

    def end(self) -> None:
        """End the process; it ends its workers when it sees the pipe closed."""
        self.lost = True
        self._pipe.close()
        self._driver.join(END_SECONDS)
        if self._driver.is_alive():
            self._driver.kill()
            self._driver.join()

    def _say(self, saying: Saying, content: bytes | None = None) -> bool:
        with self._speaking:
            try:
                self._pipe.send(saying)
                if content is not None:
                    self._pipe.send_bytes(content)
            except OSError:
                return False
            return True

    def _listen(self) -> None:
        """Raises WorkersLost."""
        problem = ""
        try:
            if self._pipe.poll(SILENT_SECONDS):
                said, what = self._pipe.recv()
                if said == "answer":
                    self._answers[what] = (self._pipe.recv_bytes(), self._pipe.recv_bytes())
                problem = what if said == "lost" else ""
            else:
                problem = (
                    f"the Ray cluster at {self.plan.address} has not answered for {SILENT_SECONDS:.0f} s: see that "
                    "`ray status` finds it, or correct --ray-address"
                )
        except (EOFError, OSError):
            self._driver.join(END_SECONDS)
            problem = (
                f"the Ray cluster at {self.plan.address} is gone: its head has ended, or the process here that speaks "
                f"with it (exit code {self._driver.exitcode}); see that `ray status` finds it"
            )
        if problem:
            self.end()
            raise WorkersLost(problem)


_numbers = itertools.count()
_clusters: dict[RayPlan, _Connection] = {}
_registering = threading.Lock()


def _joined(plan: RayPlan, processes: BaseContext) -> _Connection:
    with _registering:
        if plan not in _clusters or _clusters[plan].lost:
            _clusters[plan] = _Connection(plan, processes)
        return _clusters[plan]


def _left(cluster: _Connection, work: int) -> None:
    with _registering:
        cluster.drop(work)
        if not cluster.works:
            cluster.end()
