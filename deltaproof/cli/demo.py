"""`deltaproof demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from deltaproof.cli.common import JsonOption
from deltaproof.cli.exit_codes import ExitCode
from deltaproof.cli.terminal import Terminal
from deltaproof.errors import UsageError

__all__ = ["demo"]


def demo(
    name: Annotated[
        str | None,
        typer.Option(help="Name of the run, by default the demo's; a stopped one goes on by its name."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the data split.", min=0)] = 1,
    chain: Annotated[Literal["anvil", "ganache"], typer.Option(help="Which node to run.")] = "anvil",
    runs: Annotated[Path, typer.Option(help="Folder that holds all runs.")] = Path("runs"),
    fedpeat: Annotated[
        bool, typer.Option("--fedpeat", help="Tune a model that its owner keeps: trainers get an emulator of it.")
    ] = False,
    network: Annotated[
        bool,
        typer.Option("--network", help="Rows are sealed for the verifiers, adapters for who takes part."),
    ] = False,
    folder: Annotated[
        bool, typer.Option("--folder", help="Everybody writes into one folder, without the gateway.")
    ] = False,
    sybil: Annotated[
        bool, typer.Option("--sybil", help="Three honest trainers, and one person who enrols a shard thrice.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Rounds to play; three if left out. One shows the protocol, but chance decides what is earned in it.",
            min=1,
            max=10,
        ),
    ] = None,
    timeout: Annotated[int, typer.Option(help="Give up after so many seconds.", min=60)] = 1800,
    as_json: JsonOption = False,
) -> None:
    """Five trainers, three verifiers, three paid rounds on a private chain, then the audit.

    Three trainers are honest, one is honest with 90 % of its labels flipped, one skips half of its steps and makes
    them up. With --fedpeat the owner of the model keeps it and trains as well, without pay; two honest trainers and one
    cheat work on an emulator, and the audit is made with the full model and without it. With --sybil three names of
    one person take the place of flipped labels and cheat: together they earn what one earns.

    They share no folder: they find a gateway by the chain. With --network they also show nobody their rows but the
    verifiers, and no adapters but to who takes part. Exit code 1 if anything does not come out as promised. Everything
    is in `runs/NAME`.
    """
    from deltaproof.demo.plan import FEDPEAT, FOLDER, NETWORK, ORDINARY, SYBIL
    from deltaproof.demo.run import DemoOptions, run_demo

    asked = ((fedpeat, FEDPEAT), (network, NETWORK), (sybil, SYBIL), (folder, FOLDER))
    chosen = [scenario for wanted, scenario in asked if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0].name} and --{chosen[1].name} are two demos: play one after the other")
    scenario = (chosen[0] if chosen else ORDINARY).of(rounds)
    name = name or ("demo" if scenario.name == ORDINARY.name else scenario.name)
    options = DemoOptions(name, (runs / name).resolve(), seed, chain, timeout, scenario)
    kept = run_demo(options, Terminal(highlight=False, stderr=as_json))
    if as_json:
        typer.echo(json.dumps(json.loads((options.folder / "summary.json").read_text())))
    if not kept:
        raise typer.Exit(ExitCode.FAILED)
