"""`deltaproof task list`: what there is to take part in, in a table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from deltaproof.api.connecting import read_only_gateway, stores
from deltaproof.cli.amounts import AMOUNT
from deltaproof.cli.common import ContractOption, JsonOption, RpcOption, StoreOption, console, show_result
from deltaproof.errors import UsageError
from deltaproof.reporting import counted, printable, span

if TYPE_CHECKING:
    from deltaproof.chain.contracts.money import Money
    from deltaproof.chain.offers import Offer
    from deltaproof.cli.documents.tasks import PrintedEstimate, TaskRow
    from deltaproof.cli.task_choice import ListedTask
    from deltaproof.protocol.types import Address

__all__ = ["list_tasks"]

NAME_WIDTH, MODEL_WIDTH = 16, 16
"""So that a row fits 80 columns; `task show` tells all."""
WIDE = 110
"""From so many columns on, a row has room for an estimate beside where the task stands."""


def list_tasks(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    every: Annotated[bool, typer.Option("--all", help="Also tasks that have ended, or have no money left.")] = False,
    kind: Annotated[str, typer.Option(help="Only models of this kind, such as causal-lm.")] = "",
    method: Annotated[str, typer.Option(help="Only this tuning method, such as lora.")] = "",
    model: Annotated[str, typer.Option(help="Only models whose source fits, such as 'hub:org/*'.")] = "",
    max_size: Annotated[
        float | None, typer.Option(help="Only models of at most so many MB of weights, as far as can be known.", min=0)
    ] = None,
    token: Annotated[str, typer.Option(help="Only tasks that pay in this token: its address or symbol.")] = "",
    min_pay: Annotated[
        str | None,
        typer.Option(help="Only tasks that pay you so much a round: an equal share, in tokens.", metavar=AMOUNT),
    ] = None,
    role: Annotated[str, typer.Option(help="Whose pay and work: `trainer` or `verifier`.")] = "trainer",
    estimate: Annotated[
        bool, typer.Option("--estimate", help="What a round would take here, and what it pays and costs you; roughly.")
    ] = False,
    limit: Annotated[int, typer.Option(help="So many of the newest tasks are looked at.", min=1, max=10_000)] = 100,
    as_json: JsonOption = False,
) -> None:
    """Tasks of a contract that you can take part in, those that pay most a round first.

    `--estimate` knows each model's size and this machine's speed at plain arithmetic, and loads no model; `deltaproof
    doctor --task N` measures whether this machine keeps up with one, `deltaproof task show` tells its terms.
    """
    from deltaproof.chain.abi.enums import Role
    from deltaproof.chain.contracts.money import Amount, Money
    from deltaproof.chain.offers import ROUND_GAS, read_offers
    from deltaproof.cli.task_choice import ListedTask, WantedTasks
    from deltaproof.protocol.types import TaskId

    if role not in ("trainer", "verifier"):
        raise UsageError("--role is trainer or verifier")
    of = Role[role.upper()]
    gateway = read_only_gateway(rpc, contract)
    artifacts = stores(store, gateway)
    count = gateway.terms.task_count()
    found = read_offers(gateway, artifacts, [TaskId(n) for n in range(max(1, count - limit + 1), count + 1)])
    money = {token: gateway.money(token) for token in {task.view.params.token for task in found}}
    least = Amount.read(min_pay, "--min-pay") if min_pay is not None else None
    wanted = WantedTasks(of, every, kind, method, model, max_size, token, least)
    fitting = [task for task in found if wanted.fits(task, money[task.view.params.token])]
    shown = [ListedTask.of(task, of, estimate, wanted.sizes) for task in fitting]
    shown.sort(key=lambda each: (-each.offer.view.params.rewards.budget_per_round, each.offer.number))
    price = gateway.connection.gas_price() if estimate else None
    if as_json:
        show_result({"tasks": [_record(each, price) for each in shown], "of": count}, as_json=True, text="")
        return
    if shown:
        console.print(_table(shown, money, estimate))
    if estimate and shown and price is not None:
        gas = ROUND_GAS[of]
        coins = Money("", 18).text(gas * price)
        line = (
            f"for you, a {role}: an equal share of the most that a round pays; work: rough arithmetic; "
            f"gas of a round: about {gas:,}, which is {coins} of the chain's coin at the price of this moment"
        )
        console.print(line, markup=False, soft_wrap=True)
    hidden = len(found) - len(shown)
    looked = f"{len(found)} of {counted(count, 'task')} looked at" if len(found) < count else counted(count, "task")
    console.print(f"{looked}{f', {hidden} not shown (--all shows every one)' if hidden and not every else ''}")


def _table(tasks: list[ListedTask], money: Mapping[Address, Money], estimate: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("task", justify="right", no_wrap=True)
    table.add_column("name", overflow="ellipsis", no_wrap=True, max_width=NAME_WIDTH)
    table.add_column("tunes", overflow="ellipsis", no_wrap=True, max_width=MODEL_WIDTH)
    table.add_column("a round", justify="right", no_wrap=True)
    standing = not estimate or console.width >= WIDE
    if standing:
        table.add_column("rounds", justify="right", no_wrap=True)
        table.add_column("now", no_wrap=True)
        table.add_column("people", justify="right", no_wrap=True)
    if estimate:
        for column in ("weights", "for you", "work here"):
            table.add_column(column, justify="right", no_wrap=True)
    for task in tasks:
        each = money[task.offer.view.params.token]
        cells = [*_cells(task.offer, each), *(_standing(task.offer) if standing else ())]
        table.add_row(*map(escape, [*cells, *(_guesses(task, each) if estimate else ())]))
    return table


def _cells(task: Offer, money: Money) -> Iterator[str]:
    spec = task.spec
    yield str(task.number)
    yield printable(" ".join(spec.task.name.split())) if spec else "not to be trusted"
    yield f"{spec.method.name}, {spec.model.source.rpartition(':')[2].rpartition('/')[2]}" if spec else "–"
    yield money.text(task.view.params.rewards.budget_per_round)


def _standing(task: Offer) -> Iterator[str]:
    yield f"{task.view.round}/{task.view.params.training.rounds}"
    yield _now(task)
    yield f"{task.trainers} + {task.verifiers}"


def _guesses(task: ListedTask, money: Money) -> Iterator[str]:
    yield "?" if task.stored_bytes is None else f"{task.stored_bytes / 1e6:,.1f} MB"
    yield money.text(task.pay)
    if task.seconds is None:
        yield "?"
    else:
        late = "" if task.seconds <= task.phase_seconds else ", TOO LONG"
        yield f"~{span(round(task.seconds))} of {span(task.phase_seconds)}{late}"


def _now(task: Offer) -> str:
    if task.ended:
        return "cancelled" if task.view.cancelled else "ended"
    name = task.phase.phase.name.lower().replace("_", " ")
    left = int(task.phase.deadline - time.time())
    return f"{name}, {span(left)}" if task.phase.deadline and left > 0 else name


def _record(listed: ListedTask, gas_price: int | None) -> TaskRow:
    task = listed.offer
    guessed: PrintedEstimate = {
        "role": listed.role.name.lower(),
        "weights_bytes": listed.stored_bytes,
        "pay_per_round": str(listed.pay),
        "seconds_per_round": listed.seconds,
        "phase_seconds": listed.phase_seconds,
        "gas_per_round": listed.gas,
        "gas_price_wei": str(gas_price),
    }
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
        "estimate": None if gas_price is None else guessed,
        "problem": str(task.problem).splitlines()[0] if task.problem else None,
    }
