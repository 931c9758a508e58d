"""`deltaproof schema`: what another command prints with `--json`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from deltaproof.cli.common import JsonOption, show_result

__all__ = ["schema"]


def schema(
    command: Annotated[list[str], typer.Argument(help="The command, such as `task show`.", metavar="COMMAND...")],
    as_json: JsonOption = False,
) -> None:
    """The JSON schema of what a command prints with `--json`, for generators and validators."""
    from deltaproof.cli.documents.catalogue import schema_of

    name = " ".join(command)
    found = schema_of(name)
    show_result({"command": name, "schema": found}, as_json=as_json, text=json.dumps(found, indent=2))
