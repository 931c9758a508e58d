"""`deltaproof task check`, `create`, `show`, `results`, `fund`, `expire`, `cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaproof.api.connecting import open_gateway, read_only_gateway, store_to_read
from deltaproof.cli.amounts import AMOUNT, YesOption, agreed
from deltaproof.cli.common import (
    ContractOption,
    DeviceOption,
    JsonOption,
    KeyOption,
    ReadingKeyOption,
    RpcOption,
    StoreOption,
    TaskOption,
    show_result,
    told_on_stderr,
)
from deltaproof.cli.task_create import AcceptOption, SpeedOption, create
from deltaproof.cli.task_init import init
from deltaproof.cli.task_list import list_tasks
from deltaproof.cli.task_watch import watch_task
from deltaproof.errors import UsageError
from deltaproof.reporting import printable

if TYPE_CHECKING:
    from deltaproof.chain import Gateway
    from deltaproof.chain.participation import KnownTask
    from deltaproof.cli.documents.tasks import (
        FundedTask,
        PrintedQuality,
        PrintedTaskCancelled,
        PrintedTaskResults,
        TaskExpired,
    )
    from deltaproof.protocol.terms.spec import TaskSpec
    from deltaproof.protocol.types import TaskId
    from deltaproof.tuning.combining.evaluation import Evaluation

__all__ = ["app", "headline"]

app = typer.Typer(no_args_is_help=True, help="Fund tasks and look at them.")
app.command("init")(init)
app.command("create")(create)
app.command("list")(list_tasks)
app.command("watch")(watch_task)

PATIENCE_SECONDS = 120.0
AMOUNTS = ("budget_per_round", "balance", "reserved")
STANDING = ("profiles", "spec", "round", "phase", "deadline", "ended", "task")
"""What `task show` says in words."""


@app.command("check")
def check(
    spec: Annotated[Path, typer.Argument(help="Task spec, TOML.", exists=True, dir_okay=False)],
    speed: SpeedOption = 1.0,
    decimals: Annotated[
        int, typer.Option(help="Decimals of the tokens; `task create` asks the tokens themselves.", min=0, max=36)
    ] = 18,
    accept_risk: AcceptOption = False,
    patience: Annotated[
        float,
        typer.Option(help="Seconds to play a whole round twice, to see whether rounding decides how it ends.", min=0),
    ] = PATIENCE_SECONDS,
    as_json: JsonOption = False,
) -> None:
    """Everything that is wrong with a spec, at once; needs neither a key nor a chain.

    Checks keys and what they demand of one another, the files of `[sponsor]` and their rows, method, codec and model.
    If nothing is wrong, plays one step of the task in small, sees how alike honest trainers become, and sets the work
    of trainers and verifiers against the phases. Plays a round twice, once with every gradient value moved by a
    rounding: where the two end apart, pay is luck, and a lower learning rate is proposed. Then prints what verification
    costs, how much funds every round, and what every kind of attack would win or lose in a round under these terms.
    Exit code 1 if there is a problem, or if an attack pays. Emulators of a `[federation]` are not made here, only their
    recipes are checked.
    """
    from deltaproof.chain.contracts.money import Money
    from deltaproof.protocol.commit.secrets import HomeSecret
    from deltaproof.sponsor.amounts import Tokens, money_lines
    from deltaproof.sponsor.checking import check_draft
    from deltaproof.sponsor.drafts import complete_draft
    from deltaproof.sponsor.risks import economics_record, economics_table, objections
    from deltaproof.sponsor.short_phases import short_phases_note
    from deltaproof.sponsor.workload import Workload
    from incentives.economics import economics

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    tokens = Tokens(Money("", decimals), Money("", decimals))
    draft = check_draft(spec, tokens, told_on_stderr).usable()
    result: dict[str, Any] = {"spec": str(spec), "problems": [], "notes": []}
    table: list[str] = []
    if "federation" in draft.tables:
        notes: tuple[str, ...] = ("recipes are well-formed; `deltaproof task create` makes the emulators",)
    else:
        unsaid = HomeSecret(bytes(32))  # salts nothing that is ever published
        prepared = complete_draft(
            draft,
            unsaid,
            tell,
            speed=speed,
            objections=objections(tokens, tell, accept_risk=accept_risk),
            patience=patience,
        )
        notes, found = prepared.notes, economics(prepared.spec)
        work = Workload(prepared.spec, prepared.speed, prepared.values, prepared.published_bytes)
        table = [*money_lines(prepared.spec, tokens), *work.lines(tokens), *economics_table(found, tokens)]
        result |= {"economics": economics_record(found), **work.record()}
        result["stability"] = [one.record() for one in prepared.stability]
    if (short := short_phases_note(draft.tables)) is not None:
        notes = (*notes, short)
    text = "\n".join([f"{spec} has no problem", *(f"  {line}" for line in (*notes, *table))])
    result["notes"] = list(notes)
    show_result(result, as_json=as_json, text=text)


@app.command("show")
def show(
    rpc: RpcOption, contract: ContractOption, store: StoreOption, task: TaskOption, as_json: JsonOption = False
) -> None:
    """The task's terms in words, each of them, where it is, who takes part, and what it holds."""
    from deltaproof.chain.participation import read_task
    from deltaproof.chain.standing import standing_of
    from deltaproof.protocol.types import TaskId
    from deltaproof.sponsor.amounts import Tokens, money_lines
    from deltaproof.sponsor.wording import terms_in_words
    from deltaproof.store.profiles import shown_name

    gateway = read_only_gateway(rpc, contract)
    artifacts = store_to_read(store, gateway, task)
    terms = read_task(gateway, artifacts, TaskId(task))
    result = _described(gateway, TaskId(task), terms)
    people = [terms.view.sponsor, *result["trainers"], *result["verifiers"]]
    profiles = artifacts.known_profiles(gateway.permit_domain, people)
    money = gateway.money(terms.view.params.token)
    tokens = Tokens(money, gateway.money(gateway.registry.token()))
    standing = standing_of(gateway, TaskId(task))
    result["profiles"] = {who: said.to_json_value() for who, said in profiles.items()}
    told = {key: money.text(int(v)) if key in AMOUNTS else v for key, v in result.items() if key not in STANDING}
    told |= {key: [shown_name(who, profiles.get(who)) for who in result[key]] for key in ("trainers", "verifiers")}
    told["sponsor"] = shown_name(terms.view.sponsor, profiles.get(terms.view.sponsor))
    lines = [
        *headline(TaskId(task), terms.spec),
        *(f"  {line}" for line in (standing.line, standing.counts) if line),
        *(f"  {key.replace('_', ' ')}: {_listed(value)}" for key, value in told.items()),
        *(f"  {line}" for line in money_lines(terms.spec, tokens)),
        "",
        *terms_in_words(terms.spec, tokens),
    ]
    show_result(result, as_json=as_json, text="\n".join(lines))


def _listed(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "nobody") if isinstance(value, list) else value


@app.command("results")
def results(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    task: TaskOption,
    out: Annotated[Path | None, typer.Option(help="Folder for the final adapter (PeftModel.from_pretrained).")] = None,
    push: Annotated[
        str | None,
        typer.Option(
            help="Also publish that folder, with its card, in this repository of the Hugging Face hub. Needs HF_TOKEN.",
            metavar="ORG/NAME",
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that --push makes is private.")] = False,
    reading_key: ReadingKeyOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Held-out quality of start, final adapter and each trainer's last delta alone; export the final adapter.

    Where adapters are private, `--reading-key` is the home of the sponsor or another participant.
    """
    from deltaproof.protocol.types import TaskId, hex_of
    from deltaproof.sponsor.results import task_results
    from deltaproof.tuning.numerics.machine import pick_device
    from deltaproof.tuning.publishing import may_push, push_folder

    if push is not None:
        if out is None:
            raise UsageError("--push publishes the folder of --out; give both")
        may_push()
    computes_on = pick_device(device or "cpu")
    gateway = read_only_gateway(rpc, contract)
    artifacts = store_to_read(store, gateway, task, reading_key)
    found = task_results(gateway, artifacts, TaskId(task), out, computes_on)
    result: PrintedTaskResults = {
        "task": task,
        "final_digest": hex_of(found.final_digest),
        "start": _evaluation(found.start),
        "final": _evaluation(found.final),
        "alone": [{"trainer": trainer, **_evaluation(e)} for trainer, e in found.alone.items()],
        "adapter": str(out) if out else None,
        "published": None,
    }
    if push is not None and out is not None:
        message = f"Adapter of task {task}, {hex_of(found.final_digest)}"
        result["published"] = push_folder(out, push, message, private=private)
    named: dict[str, Evaluation] = {"start": found.start, "final": found.final}
    named.update({str(trainer): evaluation for trainer, evaluation in found.alone.items()})
    lines = [f"{name:<42} loss {e.loss:.4f}  accuracy {e.accuracy:.3f}" for name, e in named.items()]
    if out:
        lines.append(f"adapter: {out} (PeftModel.from_pretrained loads it)")
    if result["published"]:
        lines.append(f"published: {result['published']}")
    show_result(result, as_json=as_json, text="\n".join(lines))


@app.command("fund")
def fund_task(
    amount: Annotated[str, typer.Argument(help="Reward tokens to add, such as 50 or '1.5 DEMO'.", metavar=AMOUNT)],
    rpc: RpcOption,
    contract: ContractOption,
    key: KeyOption,
    task: TaskOption,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add money to a task. Anyone may; what is not earned goes back to the sponsor."""
    from deltaproof.chain.contracts.money import Amount
    from deltaproof.chain.funding import fund_task as funded
    from deltaproof.protocol.types import TaskId

    asked, number = Amount.read(amount, "AMOUNT"), TaskId(task)
    with open_gateway(rpc, contract, key) as gateway:
        funded(gateway, number, asked, lambda what: agreed(what, yes=yes, as_json=as_json))
        account = gateway.vault.account(number)
        money = gateway.money(account.token)
    text = f"task {task} has {money.text(account.balance)} for rounds that are to come"
    if account.reserved:
        text += f", and {money.text(account.reserved)} set aside for the running one"
    balance, reserved = str(account.balance), str(account.reserved)
    result: FundedTask = {
        "task": task, "funded": str(asked.within(money)), "balance": balance, "reserved": reserved,
    }  # fmt: skip
    show_result(result, as_json=as_json, text=text)


@app.command("expire")
def expire(
    rpc: RpcOption, contract: ContractOption, key: KeyOption, task: TaskOption, as_json: JsonOption = False
) -> None:
    """Return what nobody claimed in time: rewards and fees to the task, slash rewards to nobody. Anyone may."""
    from deltaproof.chain.claims import expire_rounds
    from deltaproof.protocol.types import TaskId

    with open_gateway(rpc, contract, key) as gateway:
        rounds = expire_rounds(gateway, TaskId(task))
    text = f"rounds {', '.join(map(str, rounds))} have expired" if rounds else "nothing has expired"
    told: TaskExpired = {"task": task, "rounds": [*rounds]}
    show_result(told, as_json=as_json, text=text)


@app.command("cancel")
def cancel(
    rpc: RpcOption, contract: ContractOption, key: KeyOption, task: TaskOption, as_json: JsonOption = False
) -> None:
    """End a task: at once between rounds, else after the running round. Sponsor only."""
    from deltaproof.chain.participation import require_task
    from deltaproof.protocol.types import TaskId, hex_of

    with open_gateway(rpc, contract, key) as gateway:
        require_task(gateway, TaskId(task))
        if (sponsor := gateway.task(TaskId(task)).sponsor) != gateway.account:
            raise UsageError(f"task {task} belongs to {sponsor}, not to {gateway.account}; pass its key with --key")
        receipt = gateway.tasks.cancel_task(TaskId(task))
    told: PrintedTaskCancelled = {"task": task, "transaction": hex_of(receipt.transaction_hash)}
    show_result(told, as_json=as_json, text=f"task {task} is cancelled")


def headline(task_id: TaskId, spec: TaskSpec) -> list[str]:
    """A task's name and what its sponsor says about it."""
    said = [f"  {printable(line)}" for line in spec.task.description.splitlines()]
    return [f"task {task_id}: {printable(spec.task.name)}", *said]


def _described(gateway: Gateway, task_id: TaskId, terms: KnownTask) -> dict[str, Any]:
    from deltaproof.protocol.types import hex_of

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


def _evaluation(evaluation: Evaluation) -> PrintedQuality:
    return {"loss": evaluation.loss, "accuracy": evaluation.accuracy}
