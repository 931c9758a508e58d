"""The loop of every role: follow the chain, look at one block at a time, and do each duty that block asks for.

A duty that fails waits with growing pauses while the others go on. Nothing that a duty reads comes from two blocks:
see `Connection.reading_at`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deltaproof.agent.heavy import AtOnce, Heavy, OnThread
from deltaproof.agent.limits import NO_DISK_LIMIT
from deltaproof.agent.lookout import Lookout
from deltaproof.agent.patience import HOPELESS, IDLE_POLL_SECONDS, Patience, insist, report_delay
from deltaproof.agent.turns import Rank, Turns
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import PhaseView
from deltaproof.chain.rpc.blocks import BlockRef, Depth
from deltaproof.chain.rpc.connection import View
from deltaproof.errors import InsufficientFunds, OverLimit
from deltaproof.protocol.types import TaskId, address
from deltaproof.reporting import Reporter

__all__ = ["Agent", "Company", "Duty", "Moment"]

NOBODY = address("0x" + 40 * "0")
QUIET_PHASE_SECONDS = 600
"""Taken for a task's shortest phase where nothing is known of it."""
QUICK_POLL_SECONDS = 0.5
QUICK_FOR_SECONDS = 15.0
"""How long after the last change the loop looks more often."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A task at one block. `now` is the chain's clock, seconds since the epoch, as far as it can be known between
    two blocks."""

    block: BlockRef
    view: PhaseView
    ended: bool
    now: int

    @property
    def overdue(self) -> bool:
        """Whether the phase's time is up, if not in this block then in the next."""
        return self.view.due or 0 < self.view.deadline <= self.now

    @property
    def seconds_left(self) -> int:
        """Until the phase's deadline; a day in phases without one."""
        return max(0, self.view.deadline - self.now) if self.view.deadline else 86_400


@dataclass(frozen=True, slots=True)
class Duty:
    """One thing that a role minds; `stake` says what is lost if it is not done in time, or nothing."""

    name: str
    act: Callable[[Moment], None]
    stake: Callable[[Moment], str] = lambda moment: ""


@dataclass(frozen=True)
class Company:
    """What a role shares with the others of its account in the same process; alone by default."""

    turns: Turns = field(default_factory=Turns)
    """Who computes."""
    joining: threading.RLock = field(default_factory=threading.RLock)
    """Held while one stakes and enrols: two that read the same free stake would each count on it."""
    priority: int = 0
    """Of this task among the others; the higher goes first."""
    speaks_for: Callable[[TaskId], bool] = lambda task_id: True
    """Whether votes about that task's settlements are this one's business: one juror has one voice."""


class Agent(ABC):
    """A role in one task."""

    def __init__(
        self,
        gateway: Gateway,
        task_id: TaskId,
        report: Reporter,
        *,
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
    ) -> None:
        """`depth`: blocks on top of the one that is acted on; by default none on development chains, else two."""
        self.gateway, self.task_id, self.report = gateway, task_id, report
        self.account = gateway.account if gateway.sender is not None else NOBODY
        """The zero address where there is no key: then nothing is sent."""
        self.poll_seconds = poll_seconds
        self.lookout = Lookout(gateway.connection, depth)
        self.heavy: Heavy = AtOnce()
        self.company = Company()
        self.disk = NO_DISK_LIMIT
        self.shortest_phase = QUIET_PHASE_SECONDS
        """Seconds: no pause sleeps through a phase; see `_longest_pause`."""
        self.farewell = "the task has ended"
        """Why nothing is left to do, when `finished` says so."""
        self.looked: Callable[[dict[str, object]], None] = lambda moment: None
        """Told what was seen of the chain; see `Observed.looked`."""
        self._awake = threading.Event()
        self._asked_to_end = False
        self._patience: dict[str, Patience] = {}
        self._head: tuple[BlockRef, float] | None = None
        self._changed_at = time.monotonic()
        self._last: tuple[object, ...] = ()

    @abstractmethod
    def join(self) -> None:
        """Become a participant, once."""

    def joined(self) -> bool:
        """Whether it is a participant at the block that is looked at."""
        return True

    @abstractmethod
    def duties(self) -> Sequence[Duty]:
        """What the role minds, the most urgent first."""

    @abstractmethod
    def finished(self, moment: Moment) -> bool:
        """Whether nothing can come of going on."""

    def views(self) -> list[View]:
        """What the duties read in every block: asked together, in one call."""
        tasks = self.gateway.tasks
        return [tasks.view("phaseOf", self.task_id), tasks.view("isEnded", self.task_id)]

    def live(self) -> None:
        """Do every duty until nothing is left to do, or `end` is called."""
        self.heavy = heavy = OnThread(self._awake.set, self.company.turns, self._rank)
        try:
            # Nothing is at stake before it has joined: who cannot pay the stake is told, and need not be waited for.
            hopeless = (*HOPELESS, InsufficientFunds, OverLimit)
            insist(self._join_alone, "joining", self.account, self.report, hopeless, self._longest_pause)
            with self.lookout.watched(self._awake.set, self.views):
                while not self._asked_to_end:
                    if self._cycle():
                        self.report("done", self.farewell)
                        return
                    self._awake.wait(self._pause())
                    self._awake.clear()
        finally:
            heavy.close()

    def end(self) -> None:
        """Let `live` return after what it does now."""
        self._asked_to_end = True
        self._awake.set()

    def _join_alone(self) -> None:
        with self.company.joining:
            self.join()

    def _cycle(self) -> bool:
        """Look at the chain once and do what it asks for; whether the role is finished."""
        patience = self._patience.setdefault("chain", Patience(f"{self.account}/chain"))
        if not patience.ready:
            return False
        connection = self.gateway.connection
        try:
            block = self.lookout.head(self._pause())
            with connection.reading_at(block):
                connection.prefetch(self.views())
                moment = self._moment(block)
                patience.succeeded()
                self._tell(moment)
                for duty in (Duty("joining", self._stay), *self.duties()):
                    self._perform(duty, moment)
                return self.finished(moment)
        except HOPELESS:
            raise
        except Exception as error:
            pause = patience.failed(self._longest_pause())
            report_delay(self.report, "reading the chain", error, pause, self._known_stake())
            return False

    def _stay(self, moment: Moment) -> None:
        """Join again if a reorganisation undid it, which the newest block tells, not an older one that is acted on."""
        if not self.joined():
            with self.gateway.connection.reading_at(self.gateway.connection.head()):
                self.join()

    def _perform(self, duty: Duty, moment: Moment) -> None:
        patience = self._patience.setdefault(duty.name, Patience(f"{self.account}/{duty.name}"))
        if not patience.ready:
            return
        try:
            duty.act(moment)
            patience.succeeded()
        except HOPELESS:
            raise
        except Exception as error:
            pause = patience.failed(self._longest_pause())
            report_delay(self.report, duty.name, error, pause, self._stake(duty, moment))

    def _moment(self, block: BlockRef) -> Moment:
        seen = time.monotonic()
        if self._head is None or self._head[0].hash != block.hash:
            self._head = (block, seen)
        # Machines' clocks may be wrong; the chain's goes on from the block at the pace of any clock.
        now = block.timestamp + int(seen - self._head[1])
        view = self.gateway.tasks.phase(self.task_id)
        if (view.round, view.phase, view.deadline) != self._last:
            self._last = (view.round, view.phase, view.deadline)
            self._changed_at = seen
            for patience in self._patience.values():
                patience.succeeded()
        self._known = Moment(block, view, self.gateway.tasks.is_ended(self.task_id), now)
        return self._known

    def _tell(self, moment: Moment) -> None:
        view = moment.view
        stakes = [text for duty in self.duties() if (text := duty.stake(moment))]
        self.looked(
            {
                "task": self.task_id, "account": self.account, "block": moment.block.number, "round": view.round,
                "phase": view.phase.name.lower(), "phase_number": int(view.phase), "deadline": view.deadline,
                "seconds_left": moment.seconds_left, "at_stake": "; ".join(stakes),
            }
        )  # fmt: skip

    def _pause(self) -> float:
        quick = time.monotonic() - self._changed_at < QUICK_FOR_SECONDS
        return min(self.poll_seconds, QUICK_POLL_SECONDS) if quick else self.poll_seconds

    def seconds_left(self) -> float | None:
        """Of the phase that was seen last, by the chain's clock; None before any, and in one without a deadline."""
        if self._known is None or self._head is None or not self._known.view.deadline:
            return None
        block, seen = self._head
        return self._known.view.deadline - block.timestamp - (time.monotonic() - seen)

    def _longest_pause(self) -> float:
        """A tenth of what is left of the phase, and of the shortest phase, which may begin while nothing is seen."""
        tenth, left = self.shortest_phase / 10, self.seconds_left()
        return max(1.0, min(tenth, left / 10) if left is not None and left > 0 else tenth)

    def _rank(self) -> Rank:
        """Whose turn it is to compute: what guards a stake or fee goes before training that only earns."""
        known = self._known
        guards = known is not None and known.view.phase is not Phase.COMMIT
        return Rank(guards, self.company.priority, known.view.deadline if known else 0)

    def _stake(self, duty: Duty, moment: Moment) -> str:
        lost = duty.stake(moment)
        if not lost:
            return ""
        if not moment.view.deadline:
            return f"at stake: {lost}"
        until = time.strftime("%H:%M:%S", time.gmtime(moment.view.deadline))
        return f"at stake: {lost}, until {until} UTC ({moment.seconds_left} s)"

    _known: Moment | None = None

    def _known_stake(self) -> str:
        """What is at stake as far as was known before the chain went silent."""
        if self._known is None:
            return ""
        texts = (self._stake(duty, self._known) for duty in self.duties())
        return next((text for text in texts if text), "")
