"""`deltaproof sponsor run`, `trainer run`, `verifier run`, `claim`: working lives, each with its own key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.api.connecting import open_gateway, parse_address
from deltaproof.cli.amounts import AMOUNT
from deltaproof.cli.common import (
    AnyTaskOption,
    BackendOption,
    CheckpointingOption,
    ConfirmationsOption,
    ContractOption,
    DeviceOption,
    DrandOption,
    GasPriceOption,
    HealthOption,
    HomeOption,
    JsonOption,
    KeyOption,
    MachineOption,
    MaxDiskOption,
    MaxMemoryOption,
    MaxStakeOption,
    PolicyOption,
    PollOption,
    RayOption,
    RowsOption,
    RpcOption,
    StoreOption,
    TaskOption,
    TrackOption,
    WitnessOption,
    WorkersOption,
    show_result,
)
from deltaproof.cli.reporting import reporter
from deltaproof.errors import UsageError

if TYPE_CHECKING:
    from deltaproof.chain.contracts.money import Amount
    from deltaproof.cli.documents.participants import ClaimedPay, ClaimedRound

__all__ = ["claim", "sponsor_app", "trainer_app", "verifier_app"]

sponsor_app = typer.Typer(no_args_is_help=True, help="A sponsor's working life.")
trainer_app = typer.Typer(no_args_is_help=True, help="A trainer's working life.")
verifier_app = typer.Typer(no_args_is_help=True, help="A verifier's working life.")


@sponsor_app.callback()
def sponsor() -> None:
    """A sponsor's working life."""


@trainer_app.callback()
def trainer() -> None:
    """A trainer's working life."""


@verifier_app.callback()
def verifier() -> None:
    """A verifier's working life."""


@sponsor_app.command("run")
def run_sponsor(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: TaskOption,
    trainers: Annotated[
        int | None,
        typer.Option(
            envvar="DELTAPROOF_TRAINERS",
            help="Open a round when so many trainers take part. Default: as many as the task needs.",
            min=1,
        ),
    ] = None,
    verifiers: Annotated[
        int | None, typer.Option(envvar="DELTAPROOF_VERIFIERS", help="... and so many verifiers.", min=1)
    ] = None,
    witness: WitnessOption = "",
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    max_gas_price: GasPriceOption = None,
    max_memory: MaxMemoryOption = None,
    health_port: HealthOption = None,
    drand: DrandOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open rounds, show each round's hidden validation set in time, and take back what was not earned.

    Needs the `--home` in which `task create` kept the validation sets. A sponsor who does not show a set in time pays
    that round's accepted trainers in equal parts.

    The first round waits for all who are expected; a later one goes on after a moment with half of them. No round opens
    while its verifiers would weigh less than half of the stake that verifiers have enrolled, as long as the others' may
    wait for its seat.
    """
    from deltaproof.agent.limits import Limits
    from deltaproof.api.lives import sponsor_life
    from deltaproof.api.living import Settings

    settings = Settings(
        "sponsor", rpc, contract, key, home, witness, confirmations, poll, max_gas_price, health_port, task,
        drand=drand, limits=Limits(memory=max_memory),
    )  # fmt: skip
    sponsor_life(settings, store, trainers=trainers, verifiers=verifiers).run(reporter(as_json))


@trainer_app.command("run")
def run_trainer(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    data: RowsOption,
    task: AnyTaskOption = None,
    policy: PolicyOption = None,
    top_up: Annotated[
        bool,
        typer.Option(
            "--top-up",
            envvar="DELTAPROOF_TOP_UP",
            help="Fill a slashed stake up, or take a lost seat again, and go on.",
        ),
    ] = False,
    checkpointing: CheckpointingOption = False,
    device: DeviceOption = None,
    machine: MachineOption = None,
    witness: WitnessOption = "",
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    max_gas_price: GasPriceOption = None,
    max_stake: MaxStakeOption = None,
    max_disk: MaxDiskOption = None,
    max_memory: MaxMemoryOption = None,
    health_port: HealthOption = None,
    track: TrackOption = "",
    relay: Annotated[
        str,
        typer.Option(
            envvar="DELTAPROOF_RELAY",
            help="Leave commitments, reveals and claims to this relay, which pays their gas; what it has not brought "
            "when a quarter of a phase is left goes by itself.",
            metavar="URL",
        ),
    ] = "",
    any_quorum: Annotated[
        bool,
        typer.Option(
            "--any-quorum",
            envvar="DELTAPROOF_ANY_QUORUM",
            help="Work also in rounds whose verifiers weigh less than half of what verifiers have enrolled.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train every round of a task: join, train, commit, reveal, answer the challenge, claim.

    Stakes what the task asks for. Stop it at any time; the same command goes on from its `--home`.

    With `--policy` instead of `--task` it takes every open task that fits the policy, also tasks that come while it
    runs, up to the number and the stakes that the policy allows. `deltaproof agent policy FILE --init` writes one.
    `--data` has to fit a task, else that task is left alone. Tasks compute in turns: first what guards a stake, then
    the higher priority, then the nearer deadline. A task that cannot go on is dropped and told; the others go on.
    Stakes of tasks that are over are unlocked for the next. `deltaproof agent status` shows all of them.
    """
    from deltaproof.agent.limits import Limits
    from deltaproof.api.lives import trainer_life
    from deltaproof.api.living import Settings
    from deltaproof.api.tracking import tracked
    from deltaproof.protocol.evidence.rows import read_shard
    from deltaproof.tuning.numerics.machine import machine_of

    chosen = machine_of(machine, device=device, checkpointing=checkpointing)
    settings = Settings(
        "trainer", rpc, contract, key, home, witness, confirmations, poll, max_gas_price, health_port, task, policy,
        limits=Limits(_most_stake(max_stake), max_disk, max_memory),
    )  # fmt: skip
    life = trainer_life(
        settings,
        store,
        read_shard(data),
        device=chosen.device,
        top_up=top_up,
        checkpointing=chosen.checkpointing,
        relay=relay,
        any_quorum=any_quorum,
    )
    report = reporter(as_json)
    life.run(tracked(report, track, home, "trainer") if track else report)


@verifier_app.command("run")
def run_verifier(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    home: HomeOption,
    task: AnyTaskOption = None,
    policy: PolicyOption = None,
    stake: Annotated[
        str | None,
        typer.Option(
            envvar="DELTAPROOF_STAKE",
            help="Stake to lock in each task, in tokens; more weighs more. Default: the minimum.",
            metavar=AMOUNT,
        ),
    ] = None,
    free_share: Annotated[
        float | None,
        typer.Option(
            envvar="DELTAPROOF_FREE_SHARE",
            help="Of all your stake, the share that stays free beside, for fines and to come back after an absence: it "
            "is deposited, too. Default: 0.2. A policy says it itself.",
            min=0.0,
            max=0.9,
        ),
    ] = None,
    top_up: Annotated[
        bool,
        typer.Option(
            "--top-up",
            envvar="DELTAPROOF_TOP_UP",
            help="Fill a stake up from the wallet that a penalty reduced, and take part although a round is too much "
            "work for its phase here.",
        ),
    ] = False,
    device: DeviceOption = None,
    workers: WorkersOption = None,
    backend: BackendOption = None,
    ray_address: RayOption = None,
    checkpointing: CheckpointingOption = False,
    machine: MachineOption = None,
    witness: WitnessOption = "",
    confirmations: ConfirmationsOption = "",
    poll: PollOption = IDLE_POLL_SECONDS,
    max_gas_price: GasPriceOption = None,
    max_stake: MaxStakeOption = None,
    max_disk: MaxDiskOption = None,
    max_memory: MaxMemoryOption = None,
    health_port: HealthOption = None,
    drand: DrandOption = "",
    as_json: JsonOption = False,
) -> None:
    """Verify every round of a task: replay drawn steps, score, attest, sign, settle, claim.

    Locks what the task asks for, or `--stake`, and deposits a quarter of that on top, so that a fifth of your stake is
    free: for fines, and to come back after an absence (`--free-share`).

    The BLS key is derived from the secret in `--home`; keep that folder.

    With `--policy` instead of `--task` it takes every open task that fits the policy, also tasks that come while it
    runs, up to the number and the stakes that the policy allows. `deltaproof agent policy FILE --init` writes one.
    Tasks compute in turns: the higher priority first, then the nearer deadline. A task that cannot go on is dropped and
    told; the others go on. Stakes of tasks that are over are unlocked for the next. `deltaproof agent status` shows all
    of them.
    """
    from deltaproof.agent.limits import Limits
    from deltaproof.api.lives import verifier_life
    from deltaproof.api.living import Settings
    from deltaproof.chain.contracts.money import Amount
    from deltaproof.tuning.numerics.machine import machine_of

    runs_on = machine_of(
        machine, device=device, workers=workers, backend=backend, ray_address=ray_address, checkpointing=checkpointing
    )
    processes = 1 + runs_on.workers if runs_on.backend == "processes" else 1
    settings = Settings(
        "verifier", rpc, contract, key, home, witness, confirmations, poll, max_gas_price, health_port, task, policy,
        drand, Limits(_most_stake(max_stake), max_disk, max_memory, processes),
    )  # fmt: skip
    asked = Amount.read(stake, "--stake") if stake is not None else None
    life = verifier_life(settings, store, stake=asked, free_share=free_share, top_up=top_up, machine=runs_on)
    life.run(reporter(as_json))


def claim(
    rpc: RpcOption,
    contract: ContractOption,
    store: StoreOption,
    key: KeyOption,
    task: Annotated[int | None, typer.Option("--task", envvar="DELTAPROOF_TASK", help="Number of the task.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of every task on this contract.")] = False,
    payee: Annotated[
        str | None, typer.Option(help="Whose pay to claim; by default the key's own. The money goes to the payee.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(help="Also look into this home of a trainer or verifier for leaves that no store shows."),
    ] = None,
    credit_to: Annotated[
        str | None,
        typer.Option(help="Give the credit for proofs, answers and votes to this account instead, which claims it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Claim everything that a trainer or verifier has earned in a task and not claimed yet.

    Up to a hundred rounds are paid by one transaction. Anybody may pay the gas for somebody else. Credit for proofs,
    answers and votes is paid out, too; `--credit-to` gives it to a treasury without paying it out first. Leaves that no
    store shows are looked for in `--home`, and among the answers to demands on chain.
    """
    from deltaproof.api.claiming import claim_by_hand
    from deltaproof.chain.claims import Payment, claim_credit
    from deltaproof.protocol.types import TokenAmount

    with open_gateway(rpc, contract, key) as gateway:
        whom = parse_address(payee, "--payee") if payee else gateway.account
        if task is None and not every:
            raise UsageError("say which task: --task N, or --all")
        tasks = range(1, gateway.terms.task_count() + 1) if every or task is None else [task]
        tried = claim_by_hand(gateway, store, tasks, whom, home, reporter(as_json))
        receiver = parse_address(credit_to, "--credit-to") if credit_to else None
        credit = claim_credit(gateway, receiver) if whom == gateway.account else TokenAmount(0)
        staked = gateway.money(gateway.registry.token())

        def told(paid: Payment) -> str:
            money = staked if paid.kind == "slash reward" else gateway.money(gateway.vault.account(paid.task).token)
            return f"task {paid.task}, round {paid.round}: {money.text(paid.amount)} ({paid.kind})"

        lines = [told(paid) for paid in tried.done]
        lines += [f"{told(paid)} was refused: {revert}" for paid, revert in tried.refused]
        if credit:
            given = f", now the credit of {receiver}" if receiver else ""
            lines.append(f"{staked.text(credit)} for proofs and answers{given}")
    rounds: list[ClaimedRound] = [
        {"task": c.task, "round": c.round, "kind": c.kind, "amount": str(c.amount)} for c in tried.done
    ]
    result: ClaimedPay = {"payee": whom, "claimed": rounds, "credit": str(credit)}
    show_result(result, as_json=as_json, text="\n".join(lines) or "nothing to claim")
    tried.insist()


def _most_stake(written: str | None) -> Amount | None:
    from deltaproof.chain.contracts.money import Amount

    return Amount.read(written, "--max-stake") if written is not None else None
