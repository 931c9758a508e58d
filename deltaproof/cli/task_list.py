"""`deltaproof task list`: what there is to take part in, in a table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from deltaproof.api.connecting import read_only_gateway
from deltaproof.cli.common import ContractOption, JsonOption, RpcOption, StoreOption, console, show_result
from deltaproof.reporting import span

if TYPE_CHECKING:
    from deltaproof.chain.contracts.money import Money
    from deltaproof.chain.offers import Offer
    from deltaproof.protocol.types import Address

__all__ = ["list_tasks"]

NAME_WIDTH = 24


def list_tasks(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    every: Annotated[bool, typer.Option("--all", help="Also tasks that have ended, or have no money left.")] = False,
    kind: Annotated[str, typer.Option(help="Only models of this kind, such as causal-lm.")] = "",
    method: Annotated[str, typer.Option(help="Only this tuning method, such as lora.")] = "",
    limit: Annotated[int, typer.Option(help="So many of the newest tasks are looked at.", min=1, max=10_000)] = 100,
    as_json: JsonOption = False,
) -> None:
    """Tasks of a contract that you can take part in, those that pay most a round first.

    `deltaproof doctor --task N` says whether this machine keeps up with one, `deltaproof task show` tells its terms.
    """
    from deltaproof.chain.offers import read_offer
    from deltaproof.protocol.types import TaskId
    from deltaproof.store import open_store

    gateway, artifacts = read_only_gateway(rpc, contract), open_store(store)
    count = gateway.terms.task_count()
    found = [read_offer(gateway, artifacts, TaskId(n)) for n in range(max(1, count - limit + 1), count + 1)]
    shown = [
        task
        for task in found
        if (every or task.pays)
        and (not kind or (task.spec is not None and task.spec.model.kind == kind))
        and (not method or (task.spec is not None and task.spec.method.name == method))
    ]
    shown.sort(key=lambda task: (-task.view.params.rewards.budget_per_round, task.number))
    if as_json:
        show_result({"tasks": [_record(task) for task in shown], "of": count}, as_json=True, text="")
        return
    if shown:
        console.print(_table(shown, {token: gateway.money(token) for token in {t.view.params.token for t in shown}}))
    hidden = len(found) - len(shown)
    looked = f"{len(found)} of {count} tasks looked at" if len(found) < count else f"{count} tasks"
    console.print(f"{looked}{f', {hidden} not shown (--all shows every one)' if hidden and not every else ''}")


def _table(tasks: list[Offer], money: Mapping[Address, Money]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("task", justify="right")
    table.add_column("name")
    table.add_column("tunes")
    table.add_column("a round", justify="right")
    table.add_column("rounds", justify="right")
    table.add_column("now")
    table.add_column("people", justify="right")
    for task in tasks:
        table.add_row(*map(escape, _cells(task, money[task.view.params.token])))
    return table


def _cells(task: Offer, money: Money) -> Iterator[str]:
    spec, rewards = task.spec, task.view.params.rewards
    yield str(task.number)
    yield spec.task.name[:NAME_WIDTH] if spec else "not to be trusted"
    yield f"{spec.method.name}, {spec.model.source.rpartition(':')[2].rpartition('/')[2]}" if spec else "–"
    yield money.text(rewards.budget_per_round)
    yield f"{task.view.round}/{task.view.params.training.rounds}"
    yield _now(task)
    yield f"{task.trainers} + {task.verifiers}"


def _now(task: Offer) -> str:
    if task.ended:
        return "cancelled" if task.view.cancelled else "ended"
    name = task.phase.phase.name.lower().replace("_", " ")
    left = int(task.phase.deadline - time.time())
    return f"{name}, {span(left)} left" if task.phase.deadline and left > 0 else name


def _record(task: Offer) -> dict[str, Any]:
    spec, rewards = task.spec, task.view.params.rewards
    return {
        "task": task.number,
        "name": spec.task.name if spec else None,
        "sponsor": task.view.sponsor,
        "kind": spec.model.kind if spec else None,
        "model": spec.model.source if spec else None,
        "method": spec.method.name if spec else None,
        "token": task.view.params.token,
        "budget_per_round": str(rewards.budget_per_round),
        "balance": str(task.balance),
        "round": task.view.round,
        "rounds": task.view.params.training.rounds,
        "phase": task.phase.phase.name.lower(),
        "deadline": task.phase.deadline,
        "ended": task.ended,
        "open": task.pays,
        "trainers": task.trainers,
        "verifiers": task.verifiers,
        "stake": {
            "trainer": str(task.view.params.stakes.trainer_stake),
            "verifier": str(task.view.params.stakes.verifier_stake),
        },
        "problem": str(task.problem).splitlines()[0] if task.problem else None,
    }
