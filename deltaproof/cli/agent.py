"""`deltaproof agent`: look at a running role, remove what its home no longer needs, back it up, move it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltaproof.api.connecting import parse_depth, read_only_gateway, stores
from deltaproof.cli.common import ConfirmationsOption, ContractOption, HomeOption, JsonOption, RpcOption, show_result
from deltaproof.cli.passwords import password_for
from deltaproof.errors import UsageError
from deltaproof.reporting import counted, span

if TYPE_CHECKING:
    from deltaproof.agent.policy import TaskPolicy
    from deltaproof.cli.documents.participants import (
        HomeBackup,
        HomeRestored,
        PolicyChecked,
        PolicyWritten,
        StatusList,
        TaskFits,
    )

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Look at running roles; prune, back up and restore their homes.")

STALE_SECONDS = 180
SHOWN_ERRORS = 3


@app.command("status")
def status(home: HomeOption, as_json: JsonOption = False) -> None:
    """What the roles of a home do in each of their tasks, what is at stake until when, and their last errors.

    Of a role that follows a policy also the tasks that it is not at work in, and why.
    """
    found = []
    for path in sorted(home.glob("status-*.json")):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue  # half written at this moment, or not ours
    if not found:
        raise UsageError(f"no role has run in {home}")
    text = "\n".join(line for role in found for line in _status_lines(role))
    told: StatusList = {"roles": found}
    show_result(told, as_json=as_json, text=text)


@app.command("prune")
def prune(
    rpc: RpcOption,
    contract: ContractOption,
    home: HomeOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be removed, and keep it.")] = False,
    confirmations: ConfirmationsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Remove from a home the work of rounds that no demand, vote or appeal can ask for any more.

    Running roles do so by themselves. Kept are the secret, everything of rounds whose stake is still slashable, and
    what the next round goes on from. Needs no key.
    """
    from deltaproof.agent.homes import MIB, marked_folders
    from deltaproof.agent.pruning import Needless, Pruner
    from deltaproof.chain.rpc.blocks import default_depth

    gateway = read_only_gateway(rpc, contract)
    depth = parse_depth(confirmations)
    block = gateway.connection.head(default_depth(gateway.connection.chain_id) if depth is None else depth)
    found: list[tuple[int, Needless]] = []
    with gateway.connection.reading_at(block):
        folders = marked_folders(home, gateway)
        if not folders:
            raise UsageError(f"no role has worked in {home} for this --contract; check both")
        for task, folder in folders.items():
            pruner = Pruner(gateway, task, folder, lambda event, message, **fields: None)
            look = pruner.needless if dry_run else pruner.prune
            found += [(task, work) for work in look(block.timestamp)]
    total = sum(work.size for _, work in found)
    lines = [f"task {task}, round {work.round}: {work.path.name}, {work.size / MIB:.1f} MiB" for task, work in found]
    verb = "would be removed" if dry_run else "removed"
    removed = [{"task": task, "round": work.round, "path": str(work.path), "bytes": work.size} for task, work in found]
    show_result(
        {"removed": removed, "bytes": total, "dry_run": dry_run}, as_json=as_json,
        text="\n".join([*lines, f"{total / MIB:.1f} MiB {verb}"]) if found else "every file may still be needed",
    )  # fmt: skip


@app.command("policy")
def policy(
    file: Annotated[Path, typer.Argument(help="The policy, TOML.")],
    init: Annotated[bool, typer.Option("--init", help="Write a policy with a comment at every choice.")] = False,
    rpc: Annotated[str, typer.Option(envvar="DELTAPROOF_RPC", help="JSON-RPC URL, to look at tasks.")] = "",
    contract: Annotated[str, typer.Option(envvar="DELTAPROOF_CONTRACT", help="Address of the TaskManager.")] = "",
    store: Annotated[str, typer.Option(envvar="DELTAPROOF_STORE", help="Artifact store, for the specs.")] = "",
    role: Annotated[str, typer.Option(help="Look as a `trainer` or a `verifier`.")] = "trainer",
    as_json: JsonOption = False,
) -> None:
    """Write, or check, the policy that `trainer run --policy` and `verifier run --policy` follow.

    Without a chain it checks the file. With `--rpc` and `--contract` it goes through the open tasks and says
    for each whether it fits, and if not, why. Nothing is staked.
    """
    from deltaproof.agent.policy import TEMPLATE, load_policy

    if init:
        try:
            with file.open("x") as out:
                out.write(TEMPLATE)
        except OSError as error:
            raise UsageError(f"cannot write {file}: {error.strerror}") from error
        text = f"wrote {file}: put in a reward token, and what you want of a task; then run this without --init"
        written: PolicyWritten = {"file": str(file)}
        return show_result(written, as_json=as_json, text=text)
    checked = load_policy(file)
    tasks: list[TaskFits] = []
    lines = [f"{file} is a policy"]
    if rpc and contract:
        tasks = _looked_through(checked, rpc, contract, store, role)
        lines += [f"task {t['task']}: " + ("fits" if t["fits"] else str(t["why"])) for t in tasks]
    told: PolicyChecked = {"policy": str(file), "tasks": tasks}
    show_result(told, as_json=as_json, text="\n".join(lines))


def _looked_through(policy: TaskPolicy, rpc: str, contract: str, store: str, role: str) -> list[TaskFits]:
    """Every open task, and whether it fits."""
    from deltaproof.chain.abi.enums import Role
    from deltaproof.chain.offers import read_offers
    from deltaproof.protocol.types import TaskId

    roles = {"trainer": Role.TRAINER, "verifier": Role.VERIFIER}
    if role not in roles:
        raise UsageError(f"--role is trainer or verifier, not {role!r}")
    gateway = read_only_gateway(rpc, contract)
    opened = stores(store, gateway)
    limits = policy.limits(gateway)
    found: list[TaskFits] = []
    for offer in read_offers(gateway, opened, [TaskId(n) for n in range(1, gateway.terms.task_count() + 1)]):
        if not offer.ended:
            stake = offer.least_stake(roles[role])
            why = "; ".join(policy.objections(offer, roles[role], stake, limits))
            why = why or ("" if offer.pays else "there is no money for another round")
            found.append({"task": offer.number, "fits": not why, "why": why})
    return found


@app.command("backup")
def backup(
    home: HomeOption,
    out: Annotated[Path, typer.Option(help="File to write.")],
    as_json: JsonOption = False,
) -> None:
    """Write a home to one encrypted file. Keys are not part of a home.

    The password is asked for, or taken from the environment variable DELTAPROOF_PASSWORD.
    """
    from deltaproof.agent.backup import backup_home

    size = backup_home(home, out, password_for("the backup", twice=True))
    told: HomeBackup = {"file": str(out), "bytes": size}
    show_result(told, as_json=as_json, text=f"{out}: {size} bytes")


@app.command("restore")
def restore(
    home: HomeOption,
    backup_file: Annotated[Path, typer.Argument(metavar="FILE", help="What `agent backup` wrote.", exists=True)],
    as_json: JsonOption = False,
) -> None:
    """Fill a new home from a backup. Stop the old machine first: one key must not act on two."""
    from deltaproof.agent.backup import restore_home

    files = restore_home(backup_file, home, password_for(str(backup_file)))
    told: HomeRestored = {"home": str(home), "files": files}
    show_result(told, as_json=as_json, text=f"{home}: {counted(files, 'file')}")


def _status_lines(role: Mapping[str, Any]) -> list[str]:
    """One role for people: itself, each of its tasks, its last errors."""
    age = time.time() - role.get("at", 0)
    state = "runs" if age < STALE_SECONDS else f"has said nothing for {age:.0f} s: stopped?"
    if age < STALE_SECONDS and not role.get("healthy", True):
        state = f"runs, but has not seen the chain for {role.get('seconds_since_chain', 0):.0f} s"
    if (role.get("last") or {}).get("event") == "done":
        state = "has nothing left to do and has ended"
    lines = [f"{role['role']} ({role.get('account') or 'not connected yet'}) {state}"]
    for task in role.get("tasks", []):
        left = f", {span(task['seconds_left'])} left when it looked" if task["deadline"] else ""
        lines.append(f"  task {task['task']}: round {task['round']}, {task['phase']}, block {task['block']}{left}")
        if task.get("at_stake"):
            lines.append(f"    at stake: {task['at_stake']}")
    lines += [f"  task {other['task']}: {other['state']}: {other['why']}" for other in role.get("others", [])]
    if last := role.get("last"):
        lines.append(f"  last: {last['message']}")
    lines += [f"  error: {error['message']}" for error in role.get("errors", [])[-SHOWN_ERRORS:]]
    return lines
