"""`deltaproof task create`: from a draft to a funded task, with every doubt raised before money moves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deltaproof.cli.amounts import AMOUNT, YesOption, agreed
from deltaproof.cli.common import (
    ContractOption,
    HomeOption,
    JsonOption,
    KeyOption,
    NeededStoreOption,
    RpcOption,
    show_result,
)
from deltaproof.reporting import counted

__all__ = ["AcceptOption", "SpeedOption", "create"]

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


DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, ask the contract whether it would agree, send nothing.")
]


def create(
    spec: Annotated[Path, typer.Argument(help="Task spec, TOML.", exists=True, dir_okay=False)],
    rpc: RpcOption,
    contract: ContractOption,
    store: NeededStoreOption,
    key: KeyOption,
    home: HomeOption,
    fund: Annotated[
        str, typer.Option(help="Reward tokens to move into the escrow, such as 330 or '1.5 DEMO'.", metavar=AMOUNT)
    ] = "0",
    token: Annotated[
        str | None, typer.Option(help="ERC-20 that rewards are paid in; by default the stake token.")
    ] = None,
    speed: SpeedOption = 1.0,
    accept_risk: AcceptOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Complete a spec, publish it, and fund the task.

    Prints what every kind of attack would win or lose in a round under these terms, and refuses terms under which one
    pays.

    All problems are told at once, before a model is loaded: those of the spec as `deltaproof task check` finds them,
    and those of the key, the chain and the funds. Before money moves, a person at a terminal is asked.

    Add a table `[sponsor]` with `validation` and `test`, JSON Lines files of hidden rows. They stay in `--home` until
    `deltaproof sponsor run` shows them, each after the commitments of its round. Digests that the spec leaves out are
    computed. With a table `[federation]`, emulators of a model that trainers must not hold are made first (minutes for
    large models): see docs/federation.md.
    """
    from deltaproof.api.creating import propose_task
    from deltaproof.api.network import Network
    from deltaproof.chain.contracts.money import Amount

    proposal = propose_task(
        spec, Network(rpc, contract, store), key=key, home=home, fund=Amount.read(fund, "--fund"), token=token,
        speed=speed, accept_risk=accept_risk, tell=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    result, money, quorum = proposal.record(), proposal.money, proposal.quorum
    if dry_run:
        told = {"dry_run": True, **result, "gas_wei": str(proposal.gas_wei)}
        text = f"{spec} can be created; it would be funded with {money}\n  {quorum}\nnothing was sent"
        show_result(told, as_json=as_json, text=text)
        return
    if proposal.funding:
        agreed(f"move {money} of {proposal.account} into the escrow of this task", yes=yes, as_json=as_json)
    made, prepared = proposal.create(), proposal.prepared
    late = [f"not published yet: {made.unpublished}; the next command does it"] if made.unpublished else []
    text = "\n".join(
        [
            f"task {made.number}: {prepared.spec.task.name}",
            f"  spec {result['spec_hash']}",
            f"  {counted(len(prepared.start), 'trainable value')}, "
            f"{counted(prepared.spec.rewards.rounds, 'round')}, funded with {money}",
            f"  {quorum}",
            *late,
            f"keep it going: deltaproof sponsor run --task {made.number} --home {home}",
        ]
    )
    done = {"task": made.number, **result, "transaction": made.transaction, "published": not made.unpublished}
    show_result(done, as_json=as_json, text=text)
