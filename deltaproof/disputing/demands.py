"""Open demands of a task: each is answered once by whoever can, and closed by anyone when its time is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Demand, DemandKind
from deltaproof.chain.abi.structs import ScoreLeaf, ScorePair
from deltaproof.chain.participation import attempt
from deltaproof.chain.rpc.sender import Receipt
from deltaproof.errors import ContractRevert
from deltaproof.protocol.outcome.attestation import Attestation
from deltaproof.protocol.outcome.settlement import SettlementLeaf, leaves_tree, scores_tree
from deltaproof.protocol.types import Address, RoundIndex, TaskId
from deltaproof.reporting import Reporter

__all__ = ["DemandDesk", "demand_text", "demandable_until", "leaf_answer", "score_pair"]

Answer = Callable[[int, Demand], Receipt | None]
"""Told a demand's number and content; None if it was not answered, or somebody else was faster."""


class DemandDesk:
    """Finds the open demands of a task that concern a role, and minds each until it is closed."""

    def __init__(
        self,
        gateway: Gateway,
        task_id: TaskId,
        report: Reporter,
        concerns: Callable[[Demand], bool],
        answer: Answer,
        closed: Callable[[int, Demand], None] | None = None,
    ) -> None:
        """`concerns` says which demands of the task are looked after; `answer` shows what one asks for; `closed` is
        told of each that somebody answered."""
        self.gateway, self.task_id, self.report = gateway, task_id, report
        self._concerns, self._give, self._closed = concerns, answer, closed
        self._looked_to = 0
        self._open: dict[int, Demand] = {}

    def mind(self, now: int) -> None:
        """Answer every open demand, close those that nobody answered; `now` is the chain's time.

        Raises what the first that fails raises, after all were tried.
        """
        self._look(now)
        errors: list[Exception] = []
        for number in list(self._open):
            try:
                self._mind_one(number, now)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    @property
    def deadlines(self) -> Sequence[int]:
        """Until when each demand on this account has to be answered, seconds since the epoch."""
        return [demand.deadline for demand in self._open.values() if demand.respondent == self.gateway.account]

    def _look(self, now: int) -> None:
        """Read what was demanded since the last look; at first, back to the first that can still be answered."""
        count = self.gateway.court.demand_count()
        if count < self._looked_to:  # a reorganisation took demands away
            self._looked_to, self._open = 0, {}
        for number in range(count, self._looked_to, -1):
            demand = self.gateway.court.demand(number)
            over = demand.closed and demand.deadline < now
            # But for leaves, which may have less, all have the same time to answer: those before are over as well.
            if over and demand.kind is not DemandKind.LEAF and self._looked_to == 0:
                break
            is_due = not demand.closed or self._closed is not None
            if demand.task_id == self.task_id and is_due and self._concerns(demand):
                self._open[number] = demand
        self._looked_to = count

    def _mind_one(self, number: int, now: int) -> None:
        demand = self.gateway.court.demand(number)
        if demand.closed:
            if self._closed is not None:
                self._closed(number, demand)
            del self._open[number]
        elif demand.deadline <= now:
            self._let_go(number, demand)
        elif self._answer(number, demand) is not None:
            self.report("answered", f"demand {number}: {demand_text(demand)}", demand=number, round=demand.round)

    def _answer(self, number: int, demand: Demand) -> Receipt | None:
        """None also where the settlement that it is about fell: nobody can answer then, and nobody has to."""
        try:
            return self._give(number, demand)
        except ContractRevert as revert:
            if revert.name != "DisputesNotAccepted":
                raise
            return None

    def _let_go(self, number: int, demand: Demand) -> None:
        """A demand that outlasted its time: whoever had to answer keeps still, everybody else closes it."""
        if demand.respondent == self.gateway.account:
            self.report("unanswered", f"demand {number} was not answered in time")
            del self._open[number]
        elif attempt(self.gateway.court.close_demand, number) is not None:
            self.report("closed", f"demand {number} was not answered: {demand_text(demand)}", demand=number)


def demandable_until(gateway: Gateway, task_id: TaskId, round_: RoundIndex) -> int:
    """The last second, since the epoch, in which the court takes a demand about the work of a round that has ended.

    All of the time to answer has to lie within the slash period; if it is longer than that, no demand is taken at all.
    """
    ended = gateway.tasks.round(task_id, round_).ended_at
    return ended + gateway.terms.params(task_id).phases.slash - gateway.court.params().answer_seconds


def demand_text(demand: Demand) -> str:
    """What a demand asks for, for people."""
    match demand.kind:
        case DemandKind.OPENING:
            what = f"record {demand.step}, chunk {demand.chunk} of {demand.component.name.lower()}"
            return f"{what}, of trainer {demand.respondent}"
        case DemandKind.SCORE:
            return f"the score of {demand.subject} that verifier {demand.respondent} attested"
        case DemandKind.LEAF:
            return f"the settled leaf of {demand.subject}"
        case _:
            return "nothing"


def score_pair(attestation: Attestation, settled: Sequence[SettlementLeaf], trainer: Address) -> ScorePair | None:
    """What a verifier attested of a trainer beside what was settled; None if either does not name the trainer."""
    attested = attestation.leaves()
    index = next((i for i, leaf in enumerate(settled) if leaf.trainer == trainer), None)
    if index is None or index >= len(attested) or attested[index].trainer != trainer:
        return None
    own = attested[index]
    return ScorePair(
        verifier=attestation.verifier,
        index=index,
        attested=ScoreLeaf(own.trainer, own.verdict, own.score_nanos),
        attested_proof=tuple(scores_tree(attested).proof(index)),
        settled=settled[index],
        settled_proof=tuple(leaves_tree(settled).proof(index)),
    )


def leaf_answer(gateway: Gateway, number: int, demand: Demand, settled: Sequence[SettlementLeaf]) -> Receipt | None:
    """Show the demanded leaf of the posted settlement, whose leaves are `settled`; None if it is not among them."""
    index = next((i for i, leaf in enumerate(settled) if leaf.trainer == demand.subject), None)
    if index is None:
        return None
    return attempt(gateway.court.answer_leaf, number, index, settled[index], leaves_tree(settled).proof(index))
