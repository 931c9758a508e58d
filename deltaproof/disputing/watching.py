"""Anybody's watch over a task: what chain and store allow to check is checked, told, and with a key proved."""

from __future__ import annotations

from collections.abc import Sequence

from deltaproof.agent.loop import Agent, Duty, Moment
from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Demand
from deltaproof.chain.participation import move_on
from deltaproof.chain.rpc.blocks import Depth
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.chain.tasklog import TaskLog
from deltaproof.disputing.demands import DemandDesk
from deltaproof.disputing.desk import SettlementDesk
from deltaproof.disputing.workdesk import WorkDesk
from deltaproof.protocol.types import TaskId
from deltaproof.reporting import Reporter
from deltaproof.store import ArtifactStore

__all__ = ["Watcher"]

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
        poll_seconds: float = IDLE_POLL_SECONDS,
        depth: Depth | None = None,
    ) -> None:
        """Without `prove` it only tells; then the gateway needs no key."""
        super().__init__(gateway, task_id, report, poll_seconds=poll_seconds, depth=depth)
        self.store, self.prove = store, prove
        self.params = gateway.terms.params(task_id)
        self.log = TaskLog(gateway, [gateway.tasks.address, gateway.trainers.address], task_id)
        self.settlements = SettlementDesk(gateway, store, task_id, self.params, self.log, report, prove=prove)
        self.works = WorkDesk(gateway, store, task_id, self.params, self.log, report, prove=prove)
        self.demands = DemandDesk(gateway, task_id, report, lambda demand: True, self._answer)

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
            if committed := self.log.sorted_trainers(moment.view.round):
                self.settlements.demand_hidden(moment, committed[0])

    def advance(self, moment: Moment) -> None:
        """Move a phase on that is over and that nobody else moved: after the participants have had their turn."""
        if moment.view.deadline and moment.now > moment.view.deadline + GRACE_SECONDS:
            move_on(self.gateway, self.task_id, moment.view, overdue=True, now=moment.now)

    def _answer(self, number: int, demand: Demand) -> Receipt | None:
        return self.settlements.answer_leaf(number, demand)
