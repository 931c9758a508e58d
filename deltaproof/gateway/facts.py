"""What the chain says of tasks and participants, remembered for seconds, so that requests do not become calls.

Everything is read anew when its seconds are over: a chain may be reorganised, and roles end.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome, Role
from deltaproof.chain.abi.structs import RoundView, TaskParams, TrainerEnrolment, VerifierEnrolment
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import EncodingError
from deltaproof.gateway.refusals import RequestRefused
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId
from deltaproof.store import ArtifactStore

__all__ = ["ChainFacts", "Remembered", "TaskNow"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
FOREVER_SECONDS = 60.0
"""For what no transaction changes; a reorganisation may."""
NOW_SECONDS = 2.0
ENTRIES = 4_096
LOGS = 64


class Remembered(Generic[K, V]):
    """Answers kept for some seconds, the least recently used dropped first. Safe to share between threads."""

    def __init__(self, seconds: float, entries: int = ENTRIES) -> None:
        self._seconds, self._entries = seconds, entries
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, key: K) -> V | None:
        """What is known of a key, if anything is."""
        with self._lock:
            known = self._known.get(key)
            if known is None or time.monotonic() >= known[0]:
                return None
            self._known.move_to_end(key)
            return known[1]

    def get(self, key: K, find: Callable[[], V]) -> V:
        """What is known of a key, or what `find` returns. What `find` raises is not remembered."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and time.monotonic() < known[0]:
                self._known.move_to_end(key)
                return known[1]
        value = find()
        with self._lock:
            self._known[key] = (time.monotonic() + self._seconds, value)
            self._known.move_to_end(key)
            while len(self._known) > self._entries:
                self._known.popitem(last=False)
        return value


@dataclass(frozen=True)
class TaskNow:
    """A task as it stands."""

    id: TaskId
    sponsor: Address
    params: TaskParams
    commitments: tuple[Digest32, ...]
    """Of the validation sets: one per round, then the final test set's."""
    round: RoundIndex
    """The last that was opened, 0 before the first."""
    attempts: int
    """Settlements of that round that were voided."""
    members: int
    """Verifiers in its quorum."""
    trainers: int
    """Who ever enrolled."""
    closes_at: int | None
    """When the last claim and slashing end, seconds since the epoch; None while rounds run or may come."""
    now: int
    """The chain's clock."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be claimed or slashed any more."""
        return self.closes_at is not None and self.now >= self.closes_at


class ChainFacts:
    """Tasks of one deployment and who takes part. Safe to share between threads.

    Every method raises ChainError if the node does not answer.
    """

    def __init__(self, gateway: Gateway, store: ArtifactStore, cache: Path) -> None:
        """Specs are read from `store`; `cache` is a folder that remembers where tasks begin."""
        self.gateway, self._store, self._cache = gateway, store, cache
        self._fixed: Remembered[TaskId, tuple[Address, TaskParams, tuple[Digest32, ...]]] = Remembered(FOREVER_SECONDS)
        self._tasks: Remembered[TaskId, TaskNow] = Remembered(NOW_SECONDS)
        self._trainers: Remembered[tuple[TaskId, Address], TrainerEnrolment] = Remembered(NOW_SECONDS)
        self._commitments: Remembered[tuple[TaskId, RoundIndex, Address], bool] = Remembered(NOW_SECONDS)
        self._verifiers: Remembered[tuple[TaskId, Address], VerifierEnrolment] = Remembered(NOW_SECONDS)
        self._stakes: Remembered[Address, bool] = Remembered(NOW_SECONDS)
        self._specs: Remembered[Digest32, TaskSpec] = Remembered(FOREVER_SECONDS, 256)
        self._logs: OrderedDict[TaskId, TaskLog] = OrderedDict()
        self._reveals: Remembered[tuple[TaskId, RoundIndex], dict[Address, Digest32]] = Remembered(NOW_SECONDS)
        self._ended: Remembered[tuple[TaskId, RoundIndex], RoundView] = Remembered(FOREVER_SECONDS)
        self._reading = threading.Lock()

    def task(self, task_id: TaskId) -> TaskNow:
        """A task. Raises RequestRefused if there is none of that number."""
        return self._tasks.get(task_id, lambda: self._task(task_id))

    def trainer(self, task_id: TaskId, account: Address) -> TrainerEnrolment:
        """A trainer's part in a task."""
        pool = self.gateway.trainers
        return self._trainers.get((task_id, account), lambda: pool.enrolment(task_id, account))

    def committed(self, task_id: TaskId, round_: RoundIndex, account: Address) -> bool:
        """Whether a trainer committed in a round."""
        pool = self.gateway.trainers
        return self._commitments.get((task_id, round_, account), lambda: pool.has_committed(task_id, round_, account))

    def verifier(self, task_id: TaskId, account: Address) -> VerifierEnrolment:
        """A verifier's part in a task."""
        pool = self.gateway.verifiers
        return self._verifiers.get((task_id, account), lambda: pool.enrolment(task_id, account))

    def staked(self, account: Address) -> bool:
        """Whether the account has a stake as a verifier or trainer, in whatever task."""
        registry, roles = self.gateway.registry, (Role.VERIFIER, Role.TRAINER)
        return self._stakes.get(account, lambda: any(registry.stake_of(account, role).total > 0 for role in roles))

    def spec(self, task: TaskNow) -> TaskSpec:
        """The task's spec. Raises ArtifactError while the store does not hold it, RequestRefused if it is no spec."""
        digest = task.params.spec_hash

        def read() -> TaskSpec:
            try:
                return TaskSpec.from_document(self._store.get_blob(digest, TaskSpec.MAX_BYTES))
            except EncodingError as error:
                raise RequestRefused(403, "no-spec", f"the spec of task {task.id} cannot be used: {error}") from error

        return self._specs.get(digest, read)

    def transcript_root(self, task_id: TaskId, round_: RoundIndex, trainer: Address) -> Digest32 | None:
        """The transcript root that a trainer revealed in a round; None if it did not."""
        return self._reveals.get((task_id, round_), lambda: self._revealed(task_id, round_)).get(trainer)

    def standing(self, task: TaskNow) -> dict[Digest32, Settlement]:
        """Settlements that stand in rounds whose pay can be claimed, by the digest that was signed of them."""
        found: dict[Digest32, Settlement] = {}
        for number in range(task.round, 0, -1):
            round_ = RoundIndex(number)
            view = self._round(task.id, round_)
            if view.ended_at and view.ended_at + task.params.phases.claim <= task.now:
                break  # so are all before it
            posted = view.settlement
            if posted.leaf_count and view.outcome in (Outcome.RUNNING, Outcome.SETTLED):
                found[posted.signing_digest(self.gateway.domain(task.id, round_), view.attempts)] = posted
        return found

    def _round(self, task_id: TaskId, round_: RoundIndex) -> RoundView:
        ended = self._ended.known((task_id, round_))
        if ended is not None:
            return ended
        view = self.gateway.tasks.round(task_id, round_)
        return self._ended.get((task_id, round_), lambda: view) if view.ended_at else view

    def _task(self, task_id: TaskId) -> TaskNow:
        sponsor, params, commitments = self._fixed.get(task_id, lambda: self._fixed_terms(task_id))
        tasks = self.gateway.tasks
        round_ = tasks.state(task_id).round
        attempts, members, ended_at = 0, 0, 0
        if round_:
            view = tasks.round(task_id, round_)
            attempts, ended_at = view.attempts, view.ended_at
            members = self.gateway.verifiers.quorum(task_id, round_).members
        trainers = self.gateway.trainers.count(task_id)
        closes_at = None
        if tasks.is_ended(task_id):
            closes_at = ended_at + max(params.phases.claim, params.phases.slash) if ended_at else 0
        now = self.gateway.connection.timestamp()
        return TaskNow(task_id, sponsor, params, commitments, round_, attempts, members, trainers, closes_at, now)

    def _fixed_terms(self, task_id: TaskId) -> tuple[Address, TaskParams, tuple[Digest32, ...]]:
        terms = self.gateway.terms
        if not 1 <= task_id <= terms.task_count():
            raise RequestRefused(403, "no-task", f"there is no task {task_id} on {self.gateway.tasks.address}")
        return terms.sponsor(task_id), terms.params(task_id), terms.validation_commitments(task_id)

    def _revealed(self, task_id: TaskId, round_: RoundIndex) -> dict[Address, Digest32]:
        with self._reading:  # a log is for one thread
            log = self._logs.pop(task_id, None)
            if log is None:
                followed = [self.gateway.trainers.address]
                log = TaskLog(self.gateway, followed, task_id, self._cache / f"task-{task_id}")
            self._logs[task_id] = log
            while len(self._logs) > LOGS:
                self._logs.popitem(last=False)
            log.refresh(round_)
            return {trainer: reveal.transcript_root for trainer, reveal in log.reveals(round_).items()}
