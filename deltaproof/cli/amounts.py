"""Amounts on the command line, and the question before money moves."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from deltaproof.errors import UsageError

if TYPE_CHECKING:
    pass

__all__ = ["AMOUNT", "YesOption", "agreed"]

AMOUNT = "AMOUNT"
"""Placeholder of amounts in the help: tokens (`330`, `1.5`, `1.5 DEMO`), or smallest units (`330wei`)."""

YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask before money moves. Without a terminal nothing is asked.")
]


def agreed(what: str, *, yes: bool, as_json: bool, named: bool = True) -> None:
    """Ask a person before money moves; returns if it may.

    A script (`--json`, or no terminal) is not asked: what its command line names, it means. What the command line does
    not name (`named` is false, such as a bond that the contract sets) needs `--yes` there. Raises UsageError without a
    yes.
    """
    if yes:
        return
    asks = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    if asks:
        if not typer.confirm(f"{what}: go on?", err=True):
            raise UsageError("nothing was sent")
    elif not named:
        raise UsageError(f"{what}: the command line does not say so; add --yes if you mean it")
