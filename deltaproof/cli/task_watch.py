"""`deltaproof task watch`: a task's phases as they come, for whoever waits for them."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from deltaproof.agent.patience import HOPELESS, IDLE_POLL_SECONDS, insist
from deltaproof.api.connecting import parse_depth, read_only_gateway
from deltaproof.cli.common import ConfirmationsOption, ContractOption, JsonOption, PollOption, RpcOption, TaskOption
from deltaproof.cli.reporting import ConsoleReporter, JsonReporter
from deltaproof.cli.terminal import Terminal
from deltaproof.errors import DeploymentError
from deltaproof.reporting import Reporter

if TYPE_CHECKING:
    from deltaproof.api.following import TaskWatch
    from deltaproof.chain.rpc.blocks import Depth
    from deltaproof.protocol.types import TaskId

__all__ = ["watch_task"]


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
    from deltaproof.protocol.types import TaskId

    console = Terminal(highlight=False)
    report = JsonReporter() if as_json else ConsoleReporter(console)
    depth = parse_depth(confirmations)
    live = None if as_json or once or not console.is_terminal else console.status("", spinner="line")
    with live or nullcontext():
        number = TaskId(task)
        hopeless = (*HOPELESS, DeploymentError)
        lag = 0.0 if once else None
        watch = insist(
            lambda: _begin(rpc, contract, number, report, depth), "looking", "watch", report, hopeless, lag_seconds=lag
        )
        while True:
            seen = insist(watch.look, "looking", "watch", report, HOPELESS)
            if once or seen.ended:
                return
            if live is not None:
                live.update(Text("; ".join(part for part in (seen.line, seen.counts) if part)))
            time.sleep(poll)


def _begin(rpc: str, contract: str, task_id: TaskId, report: Reporter, depth: Depth | None) -> TaskWatch:
    from deltaproof.api.following import TaskWatch
    from deltaproof.chain.participation import require_task

    gateway = read_only_gateway(rpc, contract)
    require_task(gateway, task_id)
    return TaskWatch(gateway, task_id, report, depth)
