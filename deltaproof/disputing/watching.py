"""Anybody's watch over a task: what chain and store allow to check is checked, told, and with a key proved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from deltaproof.agent.lookout import Lookout
from deltaproof.agent.loop import Agent, Duty, Moment
from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Demand
from deltaproof.chain.participation import move_on
from deltaproof.chain.rpc.blocks import Depth
from deltaproof.chain.rpc.connection import View
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.answers import answer_to, fault_in_answer
from deltaproof.disputing.demands import DemandDesk
from deltaproof.disputing.desk import SettlementDesk
from deltaproof.disputing.workdesk import WorkDesk
from deltaproof.protocol.types import TaskId, TokenAmount
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore

__all__ = ["Watch", "Watcher"]

NOTHING = TokenAmount(0)
GRACE_SECONDS = 30
"""How long participants, who are there anyway, are left to pay the gas."""


class Watcher(Agent):
    """Watches one task. It stakes nothing; what it proves earns it the prover's share of the slash."""

    def __init__(
        self,
        gateway: Gateway,
        store: ArtifactStore,
        task_id: TaskId,
        report: Reporter,
        *,
        prove: bool = True,
        spend: TokenAmount = NOTHING,
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
    ) -> None:
        """Without `prove` it only tells; then the gateway needs no key. `spend`: most bonds that it may risk for the
        hidden leaves of one settlement, smallest units of the stake token."""
        super().__init__(gateway, task_id, report, poll_seconds=poll_seconds, depth=depth)
        self.store, self.prove = store, prove
        self.params = gateway.terms.params(task_id)
        self.shortest_phase = self.params.phases.shortest
        self.log = TaskLog(gateway, [gateway.tasks.address, gateway.trainers.address], task_id)
        self.settlements = SettlementDesk(
            gateway, store, task_id, self.params, self.log, report, prove=prove, spend=lambda _: spend
        )
        self.works = WorkDesk(gateway, store, task_id, self.params, self.log, report, prove=prove)
        self.demands = DemandDesk(gateway, task_id, report, lambda demand: True, self._answer, self.look_at_answer)

    def join(self) -> None:
        """A watcher has nothing to join."""

    def duties(self) -> Sequence[Duty]:
        """What a watcher minds."""
        watching = [Duty("works", self.works.mind), Duty("settlement", self.mind_settlement)]
        if not self.prove:
            return watching
        return [*watching, Duty("demands", lambda moment: self.demands.mind(moment.now)), Duty("advance", self.advance)]

    def finished(self, moment: Moment) -> bool:
        """Whether the task has ended."""
        return moment.ended

    def look(self) -> bool:
        """Do every duty once; whether the task has ended. What fails is reported, and tried again at the next look."""
        return self._cycle()

    def mind_settlement(self, moment: Moment) -> None:
        """Check the posted settlement and its signers; with a bond ask for leaves that nobody shows."""
        self.settlements.mind(moment)
        if self.prove and moment.view.round:
            self.log.refresh(moment.view.round)
            self.settlements.demand_hidden(moment, self.log.sorted_trainers)

    def advance(self, moment: Moment) -> None:
        """Move a phase on that is over and that nobody else moved: after the participants have had their turn."""
        if moment.view.deadline and moment.now > moment.view.deadline + GRACE_SECONDS:
            move_on(self.gateway, self.task_id, moment.view, overdue=True, now=moment.now)

    def _answer(self, number: int, demand: Demand) -> Receipt | None:
        return self.settlements.answer_leaf(number, demand)

    def look_at_answer(self, number: int, demand: Demand) -> None:
        """What a trainer showed may itself be a fault."""
        answer = answer_to(self.gateway, number, demand)
        found = None if answer is None else fault_in_answer(demand, answer)
        if found is not None:
            self.works.act(demand.round, demand.respondent, found)


class Watch:
    """Every task of a contract, or one of them, watched by turns: one look at the chain serves all.

    Used as a context manager; `look` is called again and again.
    """

    def __init__(
        self,
        gateway: Gateway,
        lookout: Lookout,
        make: Callable[[TaskId], Watcher],
        task: TaskId | None,
        *,
        poll_seconds: float,
        over: Callable[[TaskId], None],
    ) -> None:
        """`task`: the one that is watched; None for all, also those that come. `over` is told of each that ended."""
        self._gateway, self._lookout, self._make, self._task = gateway, lookout, make, task
        self._poll_seconds, self._over = poll_seconds, over
        self._watchers: dict[TaskId, Watcher] = {}
        self._left: dict[TaskId, ExitStack] = {}
        self._known = 0 if task is None else task - 1
        self._shared = ExitStack()
        self.seen = 0
        """How many tasks it has begun to watch."""

    def __enter__(self) -> Self:
        self._shared.enter_context(self._lookout.watched(lambda: None, self._questions))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for left in self._left.values():
            left.close()
        self._shared.close()

    def meet(self) -> None:
        """Begin to watch what is there and was not watched. Raises ChainUnavailable, and what `make` raises."""
        last: int
        if self._task is not None:
            last = self._task
        else:
            with self._gateway.connection.reading_at(self._lookout.head(self._poll_seconds)):
                last = self._gateway.terms.task_count()
        for number in range(self._known + 1, last + 1):
            task = TaskId(number)
            watcher = self._make(task)
            watcher.lookout = self._lookout
            self._watchers[task], self._left[task] = watcher, ExitStack()
            self._left[task].enter_context(self._lookout.watched(_nobody_sleeps(), watcher.views))
            self._known = number
            self.seen += 1

    def look(self) -> bool:
        """Every watcher's look; whether the one task that is watched has ended."""
        for task, watcher in list(self._watchers.items()):
            if watcher.look():
                self._left.pop(task).close()
                del self._watchers[task]
                self._over(task)
        return self._task is not None and not self._watchers

    def _questions(self) -> list[View]:
        return [self._gateway.terms.view("taskCount")] if self._task is None else []


def _nobody_sleeps() -> Callable[[], None]:
    """What a lookout wakes, another for each watcher: here one thread looks for all."""
    return lambda: None
