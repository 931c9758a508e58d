"""`deltaproof agent`: look at a running role, back its home up, move it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deltaproof.cli.common import HomeOption, JsonOption, show_result
from deltaproof.errors import UsageError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at running roles; back up and restore their homes.")

STALE_SECONDS = 180
SHOWN_ERRORS = 3
PASSWORD_VARIABLE = "DELTAPROOF_PASSWORD"


@app.command("status")
def status(home: HomeOption, as_json: JsonOption = False) -> None:
    """What the roles of a home do, what is at stake until when, and their last errors."""
    found = []
    for path in sorted(home.glob("status-*.json")):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue  # half written at this moment, or not ours
    if not found:
        raise UsageError(f"no role has run in {home}")
    text = "\n".join(line for role in found for line in _status_lines(role))
    show_result({"roles": found}, as_json=as_json, text=text)


@app.command("backup")
def backup(
    home: HomeOption,
    out: Annotated[Path, typer.Option(help="File to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write a home to one encrypted file; the password is in DELTAPROOF_PASSWORD. Keys are not part of a home."""
    from deltaproof.agent.backup import backup_home

    size = backup_home(home, out, _password())
    show_result({"file": str(out), "bytes": size}, as_json=as_json, text=f"{out}: {size} bytes")


@app.command("restore")
def restore(
    home: HomeOption,
    backup_file: Annotated[Path, typer.Argument(metavar="FILE", help="What `agent backup` wrote.", exists=True)],
    as_json: JsonOption = False,
) -> None:
    """Fill a new home from a backup. Stop the old machine first: one key must not act on two."""
    from deltaproof.agent.backup import restore_home

    files = restore_home(backup_file, home, _password())
    show_result({"home": str(home), "files": files}, as_json=as_json, text=f"{home}: {files} files")


def _status_lines(role: Mapping[str, Any]) -> list[str]:
    """One role for people: itself, each of its tasks, its last errors."""
    age = time.time() - role.get("at", 0)
    state = "runs" if age < STALE_SECONDS else f"has said nothing for {age:.0f} s: stopped?"
    if age < STALE_SECONDS and not role.get("healthy", True):
        state = f"runs, but has not seen the chain for {role.get('seconds_since_chain', 0):.0f} s"
    lines = [f"{role['role']} ({role.get('account') or 'not connected yet'}) {state}"]
    for task in role.get("tasks", []):
        lines.append(
            f"  task {task['task']}: round {task['round']}, {task['phase']}, block {task['block']}, "
            f"{task['seconds_left']} s left when it looked"
        )
        if task.get("at_stake"):
            lines.append(f"    at stake: {task['at_stake']}")
    if last := role.get("last"):
        lines.append(f"  last: {last['message']}")
    lines += [f"  error: {error['message']}" for error in role.get("errors", [])[-SHOWN_ERRORS:]]
    return lines


def _password() -> str:
    password = os.environ.get(PASSWORD_VARIABLE)
    if not password:
        raise UsageError(f"set {PASSWORD_VARIABLE} to the password of the backup")
    return password
