"""Which commands there are. The module behind one is imported when it is asked for, so that help comes at once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["COMMANDS", "Place", "Program", "command_of"]


class Place(NamedTuple):
    """Where a command or a group of commands is, and the first sentence of its help."""

    module: str
    """Below `deltaproof.cli`."""
    name: str
    """A function, or a Typer app of several commands."""
    help: str


COMMANDS: Mapping[str, Place] = {
    "demo": Place(
        "demo", "demo", "Five trainers, three verifiers, three paid rounds on a private chain, then the audit."
    ),
    "chain": Place("chain", "app", "A private chain on this machine."),
    "deploy": Place("chain", "deploy", "Deploy all contracts."),
    "faucet": Place(
        "chain",
        "faucet",
        "Mint demo tokens, where they are what is staked: on a test chain, or after `deploy --token demo`.",
    ),
    "task": Place("task", "app", "Fund tasks and look at them."),
    "data": Place("data", "app", "Bring your own data: make rows of it, and look at them."),
    "methods": Place(
        "methods", "app", "The delta-tuning methods a task can name, and which one suits a model and its data."
    ),
    "control": Place(
        "control",
        "app",
        "Agents that set a federation's knobs: each device's emulator, who takes part, local steps, rank, codec.",
    ),
    "keys": Place("keys", "app", "An account's key; and reading keys: who opens sealed openings and private adapters."),
    "store": Place("store", "app", "A store that strangers can share."),
    "sponsor": Place("roles", "sponsor_app", "A sponsor's working life."),
    "trainer": Place("roles", "trainer_app", "A trainer's working life."),
    "verifier": Place("roles", "verifier_app", "A verifier's working life."),
    "relay": Place("relay", "app", "Bring others' commitments, reveals and claims to the chain, and pay the gas."),
    "profile": Place("profile", "app", "Say who you are, if you like; see what others say."),
    "agent": Place("agent", "app", "Look at running roles; prune, back up and restore their homes."),
    "stake": Place("stake", "app", "Your stake: look at it, add to it, leave a task, take it out."),
    "bond": Place("stake", "bond_app", "Commit bonds."),
    "beacon": Place("beacon", "app", "Where seeds come from, and bringing rounds of drand to the chain."),
    "dispute": Place("dispute", "app", "Demand, answer, prove, vote: what to do about somebody else's fault."),
    "watch": Place(
        "watch", "watch", "Recheck a task as it goes on; tell every fault, and with a key prove it and earn."
    ),
    "guardian": Place(
        "guardian",
        "app",
        "The guardian's office: refuse new tasks or, for seven days, new rounds; hand it over.",
    ),
    "claim": Place(
        "roles", "claim", "Claim everything that a trainer or verifier has earned in a task and not claimed yet."
    ),
    "doctor": Place(
        "machine",
        "doctor",
        "What was found on this machine, and whether it can meet a task's deadlines. Needs no key; nothing is staked.",
    ),
    "calibrate": Place(
        "machine",
        "calibrate",
        "Measure how far two honest machines differ, and print or write the bounds that a spec needs for it.",
    ),
    "index": Place(
        "history", "index", "Read the contracts' events into a database; again at any time, from where it stopped."
    ),
    "history": Place("history", "history", "Who contributed what, what it was worth, and what was paid."),
    "audit": Place(
        "audit", "audit", "Recompute every link from spec to pay and compare. Exit code 1 if anything differs."
    ),
    "explain": Place("history", "explain", "Why a trainer got what it got in a round, number by number."),
    "export": Place(
        "history",
        "export",
        "Write one round as one file: chain facts with proofs and all artifacts. "
        "`deltaproof audit --bundle` checks it.",
    ),
    "report": Place(
        "audit", "report", "Audit, and write everything as one HTML page that needs no server and asks nobody."
    ),
    "schema": Place(
        "schema", "schema", "The JSON schema of what a command prints with `--json`, for generators and validators."
    ),
    "serve": Place(
        "history",
        "serve",
        "Serve the pages live: tasks, rounds with every check, participants, disputes. `/health` and `/metrics`, too.",
    ),
}
"""Every command and group by its name, in the order of the help."""


class Program(TyperGroup):
    """Lists `COMMANDS` without their modules, and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        markup = self.rich_markup_mode
        for name, place in COMMANDS.items():
            self.add_command(TyperCommand(name, help=place.help, rich_markup_mode=markup))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """See `TyperGroup`."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, command_of(name) if name and listed else listed, rest


def command_of(name: str) -> Any:
    """The command, or group of commands, behind a name of `COMMANDS`."""
    place = COMMANDS[name]
    found = getattr(import_module(f"deltaproof.cli.{place.module}"), place.name)
    alone = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
    return typer.main.get_group(alone).commands[name]
