"""Follows a task: tells what changed since the last look, each thing once."""

from __future__ import annotations

from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.rpc.blocks import Depth, default_depth
from deltaproof.chain.standing import Standing, standing_of
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.reporting import Once, Reporter

__all__ = ["TaskWatch"]


class TaskWatch:
    """Tells what changed in a task since the last look, each thing once."""

    def __init__(self, gateway: Gateway, task_id: TaskId, report: Reporter, depth: Depth | None = None) -> None:
        """`depth`: see `default_depth`."""
        self._gateway, self._task_id, self._report, self._once = gateway, task_id, report, Once(report)
        self._depth = default_depth(gateway.connection.chain_id) if depth is None else depth
        self._money = gateway.money(gateway.terms.params(task_id).token)
        self._phase: tuple[object, ...] = ()
        self._open: RoundIndex | None = None
        """The first round whose end was not told yet; None before the first look."""

    def look(self) -> Standing:
        """Look once, at one block. Raises ChainUnavailable."""
        connection = self._gateway.connection
        with connection.reading_at(connection.head(self._depth)):
            seen = standing_of(self._gateway, self._task_id)
            self._tell_ends(seen)
        self._tell_phase(seen)
        if seen.counts:
            done, of = seen.acted
            self._once("acted", f"round {seen.view.round}: {seen.counts}", round=seen.view.round, done=done, of=of)
        if seen.unfunded:
            balance, missing = self._money.text(seen.balance), self._money.exact(seen.cost - seen.balance)
            line = f"the escrow has {balance}, which pays for no round: deltaproof task fund '{missing}' --task"
            self._once("unfunded", f"{line} {self._task_id}", missing=str(seen.cost - seen.balance))
        if seen.ended:
            self._once("done", seen.line)
        return seen

    def _tell_phase(self, seen: Standing) -> None:
        view = seen.view
        if (view.round, view.phase, view.deadline) == self._phase or seen.ended:
            return
        self._phase = (view.round, view.phase, view.deadline)
        self._report(
            "phase", seen.line, task=self._task_id, round=view.round, phase=view.phase.name.lower(),
            deadline=view.deadline, seconds_left=seen.seconds_left,
        )  # fmt: skip

    def _tell_ends(self, seen: Standing) -> None:
        """How the rounds ended that ran since the last look; those before the first look are history."""
        running = seen.view.phase is not Phase.IDLE
        last = seen.view.round - 1 if running else seen.view.round
        if self._open is None:
            self._open = RoundIndex(last + 1)
        for number in range(self._open, last + 1):
            round_ = RoundIndex(number)
            found = self._gateway.tasks.round(self._task_id, round_)
            settlement = found.settlement
            how = found.outcome.name.lower().replace("_", " ")
            if found.outcome is Outcome.SETTLED:
                paid, gained = self._money.text(settlement.total_payout), settlement.improvement_nanos / 1e6
                how = f"settled: {paid} to trainers, {gained:+.1f} milli-nats"
            self._report(
                "round-ended", f"round {number} of {seen.rounds} {how}", round=number,
                outcome=found.outcome.name.lower(), payout=str(settlement.total_payout),
                improvement_nanos=settlement.improvement_nanos,
            )  # fmt: skip
            self._open = RoundIndex(number + 1)
