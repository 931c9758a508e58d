"""`deltaproof task watch`: a task's phases as they come, for whoever waits for them."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deltaproof.agent.loop import IDLE_POLL_SECONDS
from deltaproof.agent.patience import HOPELESS, insist
from deltaproof.chain import Gateway
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.participation import require_task
from deltaproof.chain.rpc.blocks import Depth, default_depth
from deltaproof.chain.standing import Standing, standing_of
from deltaproof.cli.common import ConfirmationsOption, ContractOption, JsonOption, PollOption, RpcOption, TaskOption
from deltaproof.cli.connect import parse_depth, read_only_gateway
from deltaproof.cli.reporting import ConsoleReporter, JsonReporter
from deltaproof.protocol.types import RoundIndex, TaskId
from deltaproof.reporting import Once, Reporter

__all__ = ["TaskWatch", "watch_task"]


def watch_task(
    rpc: RpcOption,
    contract: ContractOption,
    task: TaskOption,
    once: Annotated[bool, typer.Option("--once", help="Tell where it is and leave.")] = False,
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Follow a task: each phase with its deadline, who has acted, how each round ended, until the task has ended.

    Needs no key and no store. `deltaproof watch` rechecks what was done; this command only tells.
    """
    console = Console(highlight=False)
    report = JsonReporter() if as_json else ConsoleReporter(console)
    depth = parse_depth(confirmations)
    live = None if as_json or once or not console.is_terminal else console.status("", spinner="line")
    with live or nullcontext():
        number = TaskId(task)
        watch = insist(lambda: _begin(rpc, contract, number, report, depth), "looking", "watch", report, HOPELESS)
        while True:
            seen = insist(watch.look, "looking", "watch", report, HOPELESS)
            if once or seen.ended:
                return
            if live is not None:
                live.update(Text("; ".join(part for part in (seen.line, seen.counts) if part)))
            time.sleep(poll)


def _begin(rpc: str, contract: str, task_id: TaskId, report: Reporter, depth: Depth | None) -> TaskWatch:
    gateway = read_only_gateway(rpc, contract)
    require_task(gateway, task_id)
    return TaskWatch(gateway, task_id, report, depth)


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
