"""`deltaproof demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from deltaproof.cli.common import JsonOption
from protocol.errors import DeltaproofError

__all__ = ["demo"]


def demo(
    name: Annotated[str, typer.Option(help="Name of the run; the same name continues a stopped one.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of the data split.", min=0)] = 1,
    chain: Annotated[Literal["anvil", "ganache"], typer.Option(help="Which node to run.")] = "anvil",
    runs: Annotated[Path, typer.Option(help="Folder that holds all runs.")] = Path("runs"),
    timeout: Annotated[int, typer.Option(help="Give up after so many seconds.", min=60)] = 1800,
    as_json: JsonOption = False,
) -> None:
    """Five trainers, three verifiers, three paid rounds on a private chain, then the audit.

    Three trainers are honest, one is honest with 90 % of its labels flipped, one skips half of its steps and makes
    them up. Exit code 1 if anything does not come out as promised. Everything is in `runs/NAME`.
    """
    from deltaproof.demo.processes import CommandError
    from deltaproof.demo.run import DemoOptions, run_demo

    options = DemoOptions(name=name, folder=(runs / name).resolve(), seed=seed, chain=chain, timeout_seconds=timeout)
    try:
        kept = run_demo(options, Console(highlight=False, stderr=as_json))
    except CommandError as error:
        raise DeltaproofError(str(error)) from error
    if as_json:
        typer.echo(json.dumps(json.loads((options.folder / "summary.json").read_text())))
    if not kept:
        raise typer.Exit(1)
