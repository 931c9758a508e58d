"""The command `deltaproof`: one module for each group of commands, listed in `deltaproof.cli.commands`."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from deltaproof import __version__
from deltaproof.cli.commands import Program
from deltaproof.cli.common import problem_records
from deltaproof.cli.exit_codes import ExitCode
from deltaproof.cli.interrupts import interrupted, when_stopped
from deltaproof.cli.named_files import named_refusal
from deltaproof.cli.terminal import Terminal
from deltaproof.errors import DeltaproofError, SpecError
from deltaproof.extras import LIBRARY_SETTINGS
from deltaproof.protocol.rules import CONTRACTS_VERSION

__all__ = ["app", "main", "run_app"]

app = typer.Typer(
    name="deltaproof",
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Pay for verified fine-tuning.

A **sponsor** funds a task, **trainers** tune an adapter and commit every step, **verifiers** replay drawn steps and
score each delta, the contract pays, and anyone **audits**.

Try it: `deltaproof demo`. On your own: `deltaproof chain up`, `deltaproof deploy`, `deltaproof task create`, then
`deltaproof trainer run` and `deltaproof verifier run` with a key each.""",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"deltaproof {__version__} (contracts of version {CONTRACTS_VERSION})")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a command's name. The help of the whole program is that of `app`."""


def main() -> None:
    """The command `deltaproof`."""
    run_app(app, "deltaproof")


def run_app(program: typer.Typer, name: str) -> None:
    """Run a command line; expected errors become one message, and the exit code says how it left."""
    for setting, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(setting, value)
    try:
        if interrupted(lambda: program(prog_name=name)):
            _fail(when_stopped(), ExitCode.STOPPED)
    except DeltaproofError as error:
        problems = problem_records(error.problems) if isinstance(error, SpecError) else None
        _fail(str(error), ExitCode.FAILED, problems=problems)
    except OSError as error:
        if (refusal := named_refusal(error)) is None:
            raise
        _fail(refusal, ExitCode.FAILED)


def _fail(message: str, code: ExitCode, **fields: object) -> None:
    if "--json" in sys.argv:
        told = {"event": "error", "message": message, **{key: v for key, v in fields.items() if v is not None}}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    style = "red" if code is ExitCode.FAILED else ""
    Terminal(stderr=True, highlight=False).print(f"deltaproof: {message}", style=style, markup=False, soft_wrap=True)
    sys.exit(code)
