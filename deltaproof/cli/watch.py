"""`deltaproof watch`: anybody's eye on a task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.agent.patience import HOPELESS, IDLE_POLL_SECONDS, insist
from deltaproof.api.connecting import open_gateway, parse_depth, read_only_gateway
from deltaproof.cli.common import (
    ConfirmationsOption,
    ContractOption,
    GasPriceOption,
    JsonOption,
    PollOption,
    RpcOption,
    StoreOption,
)
from deltaproof.cli.reporting import reporter

if TYPE_CHECKING:
    from deltaproof.chain import Gateway

__all__ = ["watch"]


def watch(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    task: Annotated[int | None, typer.Option("--task", help="Number of the task; every open task if left out.")] = None,
    key: Annotated[
        str, typer.Option("--key", envvar="DELTAPROOF_KEY", help="Private key to prove with; without one, only tell.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be proved, and send nothing.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once and leave.")] = False,
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    max_gas_price: GasPriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recheck a task as it goes on; tell every fault, and with a key prove it and earn.

    Looks at each settlement (leaves, total, payouts), at what its signers signed elsewhere, and at the openings that
    trainers publish. A proof needs no stake and no bond, only gas; the prover gets its part of the slash, to be taken
    with `deltaproof claim`. Deposit stake as a challenger (`deltaproof stake deposit`) if it may also risk a bond to
    demand leaves that nobody shows.
    """
    if key and not dry_run:
        with open_gateway(rpc, contract, key, max_gas_gwei=max_gas_price) as gateway:
            _watch(gateway, store, task, once=once, poll=poll, confirmations=confirmations, as_json=as_json)
    else:
        gateway = read_only_gateway(rpc, contract)
        _watch(gateway, store, task, once=once, poll=poll, confirmations=confirmations, as_json=as_json)


def _watch(
    gateway: Gateway, store: str, task: int | None, *, once: bool, poll: float, confirmations: str, as_json: bool
) -> None:
    from deltaproof.chain.participation import require_task
    from deltaproof.disputing.watching import Watcher
    from deltaproof.protocol.types import TaskId
    from deltaproof.store import open_store

    report, opened, depth = reporter(as_json), open_store(store), parse_depth(confirmations)
    watchers: dict[int, Watcher] = {}

    def meet_new_tasks() -> None:
        if task is not None:
            require_task(gateway, TaskId(task))
        for number in [task] if task is not None else range(1, gateway.terms.task_count() + 1):
            if number not in watchers:
                watchers[number] = Watcher(
                    gateway, opened, TaskId(number), report,
                    prove=gateway.sender is not None, poll_seconds=poll, depth=depth,
                )  # fmt: skip

    while True:
        insist(meet_new_tasks, "looking for tasks", "watch", report, HOPELESS)
        done = [watcher.look() for watcher in watchers.values()]
        if once or (task is not None and all(done)):
            return
        time.sleep(poll)
