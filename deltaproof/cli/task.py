"""`deltaproof task check`, `create`, `show`, `results`, `fund`, `expire`, `cancel`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaproof.chain import Gateway
from deltaproof.chain.money import Money, in_units
from deltaproof.chain.participation import KnownTask, read_task
from deltaproof.cli.common import (
    ContractOption,
    HomeOption,
    JsonOption,
    KeyOption,
    RpcOption,
    StoreOption,
    TaskOption,
    show_result,
)
from deltaproof.cli.connect import open_gateway, parse_address, read_only_gateway
from deltaproof.cli.task_init import init
from deltaproof.cli.task_list import list_tasks
from deltaproof.errors import DeltaproofError, InsufficientFunds, Problem, SigningKeyError, SpecError
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import TaskId, TokenAmount, hex_of
from deltaproof.store import open_store

if TYPE_CHECKING:
    from deltaproof.tuning.combining.evaluation import Evaluation

__all__ = ["app", "headline"]

app = typer.Typer(no_args_is_help=True, help="Fund tasks and look at them.")
app.command("init")(init)
app.command("list")(list_tasks)


SpeedOption = Annotated[
    float,
    typer.Option(
        "--speed", help="How many times faster the participants' machines are than this one: for the phases.", min=0.001
    ),
]


AcceptOption = Annotated[
    bool,
    typer.Option("--accept-risk", help="Take terms under which somebody gains by cheating; the table says who."),
]


@app.command("check")
def check(
    spec: Annotated[Path, typer.Argument(help="Task spec, TOML.", exists=True, dir_okay=False)],
    speed: SpeedOption = 1.0,
    decimals: Annotated[
        int, typer.Option(help="Decimals of the token, for the table of what cheating is worth.", min=0, max=36)
    ] = 18,
    accept_risk: AcceptOption = False,
    as_json: JsonOption = False,
) -> None:
    """Everything that is wrong with a spec, at once; needs neither a key nor a chain.

    Checks keys and what they demand of one another, the files of `[sponsor]` and their rows, method, codec and model.
    If nothing is wrong, plays one step of the task in small, says whether the phases are long enough for the work, and
    prints what every kind of attack would win or lose in a round under these terms. Exit code 1 if there is a problem,
    or if an attack pays. Emulators of a `[federation]` are not made here, only their recipes are checked.
    """
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.sponsor.checking import check_draft
    from deltaproof.sponsor.drafts import complete_draft
    from deltaproof.sponsor.risks import economics_record, economics_table, risk_problems
    from incentives.economics import economics

    draft = check_draft(spec).usable()
    result: dict[str, Any] = {"spec": str(spec), "problems": []}
    table: list[str] = []
    if "federation" in draft.tables:
        notes: tuple[str, ...] = ("recipes are well-formed; `deltaproof task create` makes the emulators",)
    else:
        unsaid = HomeSecret(bytes(32))  # salts nothing that is ever published
        prepared = complete_draft(draft, unsaid, lambda line: typer.echo(line, err=True), speed=speed)
        notes, found = prepared.notes, economics(prepared.spec)
        table = economics_table(found, lambda amount: in_units(amount, decimals))
        if found.risks and not accept_risk:
            typer.echo("\n".join(table), err=True)
            raise SpecError.of(str(spec), risk_problems(found, lambda amount: in_units(amount, decimals)))
        result["economics"] = economics_record(found)
    text = "\n".join([f"{spec} has no problem", *(f"  {line}" for line in (*notes, *table))])
    show_result({**result, "notes": list(notes)}, as_json=as_json, text=text)


@app.command("create")
def create(
    spec: Annotated[Path, typer.Argument(help="Task spec, TOML.", exists=True, dir_okay=False)],
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    fund: Annotated[int, typer.Option(help="Reward tokens to move into the escrow, smallest units.", min=0)] = 0,
    token: Annotated[
        str | None, typer.Option(help="ERC-20 that rewards are paid in; by default the stake token.")
    ] = None,
    speed: SpeedOption = 1.0,
    accept_risk: AcceptOption = False,
    as_json: JsonOption = False,
) -> None:
    """Complete a spec, publish it, and fund the task.

    Prints what every kind of attack would win or lose in a round under these terms, and refuses terms under which one
    pays.

    All problems are told at once, before a model is loaded: those of the spec as `deltaproof task check` finds them,
    and those of the key, the chain and the funds.

    Add a table `[sponsor]` with `validation` and `test`, JSON Lines files of hidden rows. They stay in `--home` until
    `deltaproof sponsor run` shows them, each after the commitments of its round. Digests that the spec leaves out are
    computed. With a table `[federation]`, emulators of a model that trainers must not hold are made first (minutes for
    large models): see docs/federation.md.
    """
    from deltaproof.chain.contracts.tasks import task_params
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.sponsor.checking import check_draft
    from deltaproof.sponsor.drafts import complete_draft
    from deltaproof.sponsor.life import create_task
    from deltaproof.sponsor.quorum import quorum_meaning
    from deltaproof.sponsor.risks import economics_record, economics_table, risk_problems
    from deltaproof.tuning.training.optimizers import constants_root, constants_table
    from incentives.economics import economics

    draft = check_draft(spec)
    problems = [*draft.problems, *_funding_problems(draft.tables, rpc, contract, key, fund, token)]
    if problems:
        raise SpecError.of(str(spec), problems)
    prepared = complete_draft(draft, HomeSecret.of(home), lambda line: typer.echo(line, err=True), speed=speed)
    found = economics(prepared.spec)
    with open_gateway(rpc, contract, key) as gateway:
        money = Money(gateway.token(parse_address(token, "--token") if token else gateway.registry.token()))
        typer.echo("\n".join(economics_table(found, money.text)), err=True)
        if found.risks and not accept_risk:
            raise SpecError.of(str(spec), risk_problems(found, money.text))
        params = task_params(
            prepared.spec,
            token=parse_address(token, "--token") if token else gateway.registry.token(),
            parameters=len(prepared.start),
            constants_root=constants_root(constants_table(prepared.spec.optimizer, prepared.spec.training.steps)),
        )
        task_id, receipt = create_task(gateway, open_store(store), prepared, params, TokenAmount(fund), home)
    quorum = quorum_meaning(prepared.spec.verification.quorum_bps, prepared.spec.verification.min_verifiers)
    result = {
        "task": task_id,
        "spec_hash": hex_of(prepared.spec.digest()),
        "start_digest": hex_of(prepared.spec.start_digest),
        "parameters": len(prepared.start),
        "transaction": hex_of(receipt.transaction_hash),
        "verifiers_away": quorum.away,
        "verifiers_lying": quorum.lying,
        "economics": economics_record(found),
    }
    text = "\n".join(
        [
            f"task {task_id}: {prepared.spec.task.name}",
            f"  spec {result['spec_hash']}",
            f"  {len(prepared.start)} trainable values, {prepared.spec.rewards.rounds} rounds, funded with {fund}",
            f"  {quorum}",
            f"keep it going: deltaproof sponsor run --task {task_id} --home {home}",
        ]
    )
    show_result(result, as_json=as_json, text=text)


@app.command("show")
def show(
    rpc: RpcOption, contract: ContractOption, store: StoreOption, task: TaskOption, as_json: JsonOption = False
) -> None:
    """The task's terms, where it is, who takes part, and what it holds."""
    gateway = read_only_gateway(rpc, contract)
    terms = read_task(gateway, open_store(store), TaskId(task))
    result = _described(gateway, TaskId(task), terms)
    lines = [
        *headline(TaskId(task), terms.spec),
        *(f"  {k.replace('_', ' ')}: {v}" for k, v in result.items() if k != "spec"),
    ]
    show_result(result, as_json=as_json, text="\n".join(lines))


@app.command("results")
def results(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    task: TaskOption,
    out: Annotated[Path | None, typer.Option(help="Folder for the final adapter (PeftModel.from_pretrained).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Held-out quality of start, final adapter and each trainer's last delta alone; export the final adapter."""
    from deltaproof.sponsor.results import task_results

    gateway = read_only_gateway(rpc, contract)
    found = task_results(gateway, open_store(store), TaskId(task), out)
    result = {
        "task": task,
        "final_digest": hex_of(found.final_digest),
        "start": _evaluation(found.start),
        "final": _evaluation(found.final),
        "alone": [{"trainer": trainer, **_evaluation(e)} for trainer, e in found.alone.items()],
        "adapter": str(out) if out else None,
    }
    named: dict[str, Evaluation] = {"start": found.start, "final": found.final}
    named.update({str(trainer): evaluation for trainer, evaluation in found.alone.items()})
    lines = [f"{name:<42} loss {e.loss:.4f}  accuracy {e.accuracy:.3f}" for name, e in named.items()]
    show_result(result, as_json=as_json, text="\n".join(lines))


@app.command("fund")
def fund_task(
    amount: Annotated[int, typer.Argument(help="Reward tokens to add, smallest units.", min=1)],
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    task: TaskOption,
    as_json: JsonOption = False,
) -> None:
    """Add money to a task. Anyone may; what is not earned goes back to the sponsor."""
    with open_gateway(rpc, contract, key) as gateway:
        token = gateway.token(gateway.vault.account(TaskId(task)).token)
        if token.allowance(gateway.account, gateway.vault.address) < amount:
            token.approve(gateway.vault.address, TokenAmount(amount))
        gateway.vault.fund(TaskId(task), TokenAmount(amount))
        balance = gateway.vault.account(TaskId(task)).balance
    text = f"task {task} has {balance}"
    show_result({"task": task, "funded": str(amount), "balance": str(balance)}, as_json=as_json, text=text)


@app.command("expire")
def expire(
    rpc: RpcOption, contract: ContractOption, key: KeyOption, task: TaskOption, as_json: JsonOption = False
) -> None:
    """Return what nobody claimed in time: rewards and fees to the task, slash rewards to nobody. Anyone may."""
    from deltaproof.chain.claims import expire_rounds

    with open_gateway(rpc, contract, key) as gateway:
        rounds = expire_rounds(gateway, TaskId(task))
    text = f"rounds {', '.join(map(str, rounds))} have expired" if rounds else "nothing has expired"
    show_result({"task": task, "rounds": rounds}, as_json=as_json, text=text)


@app.command("cancel")
def cancel(
    rpc: RpcOption, contract: ContractOption, key: KeyOption, task: TaskOption, as_json: JsonOption = False
) -> None:
    """End a task: at once between rounds, else after the running round. Sponsor only."""
    with open_gateway(rpc, contract, key) as gateway:
        receipt = gateway.tasks.cancel_task(TaskId(task))
    transaction = hex_of(receipt.transaction_hash)
    show_result({"task": task, "transaction": transaction}, as_json=as_json, text=f"task {task} is cancelled")


def _funding_problems(
    tables: Mapping[str, object], rpc: str, contract: str, key: str, fund: int, token: str | None
) -> Iterator[Problem]:
    """What keeps this key from funding the task on this chain."""
    from deltaproof.sponsor.life import check_funds, cost_of_a_round

    try:
        with open_gateway(rpc, contract, key) as gateway:
            paid_in = parse_address(token, "--token") if token else gateway.registry.token()
            check_funds(gateway, paid_in, TokenAmount(fund))
    except InsufficientFunds as error:
        yield Problem("--fund", str(error), "fund less, or send the account more of the token")
    except SigningKeyError as error:
        yield Problem("--key", str(error), "pass the key that funds the task")
    except DeltaproofError as error:
        yield Problem("--rpc, --contract", str(error), "pass the endpoint of the chain and the TaskManager's address")
    cost = cost_of_a_round(tables)
    if fund and cost is not None and fund < cost:
        yield Problem("--fund", f"{fund} pays for no round", f"a round and its verifiers cost {cost}")


def headline(task_id: TaskId, spec: TaskSpec) -> list[str]:
    """A task's name and what its sponsor says about it."""
    return [f"task {task_id}: {spec.task.name}", *(f"  {line}" for line in spec.task.description.splitlines())]


def _described(gateway: Gateway, task_id: TaskId, terms: KnownTask) -> dict[str, Any]:
    phase = gateway.tasks.phase(task_id)
    account = gateway.vault.account(task_id)
    return {
        "task": task_id,
        "sponsor": terms.view.sponsor,
        "token": terms.view.params.token,
        "round": phase.round,
        "rounds": terms.spec.rewards.rounds,
        "phase": phase.phase.name.lower(),
        "deadline": phase.deadline,
        "cancelled": terms.view.cancelled,
        "ended": gateway.tasks.is_ended(task_id),
        "budget_per_round": str(terms.spec.rewards.budget_per_round),
        "balance": str(account.balance),
        "reserved": str(account.reserved),
        "adapter": hex_of(terms.view.adapter_digest),
        "trainers": list(gateway.trainers.enrolments(task_id)),
        "verifiers": list(gateway.verifiers.enrolments(task_id)),
        "spec_hash": hex_of(terms.view.params.spec_hash),
        "spec": terms.spec.to_json_value(),
    }


def _evaluation(evaluation: Evaluation) -> dict[str, float]:
    return {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
