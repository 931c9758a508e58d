"""What docs/python.md sets beside a command takes what the command takes: no option is for the command line alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields

import pytest

from deltaproof.api.living import Settings
from deltaproof.api.tasks import Task
from deltaproof.auditor.audit.case import AuditOptions
from deltaproof.cli.commands import command_of

PLACE = {"rpc", "contract", "store", "task"}
"""What the object itself is about."""
SHOWN = {"as_json", "yes", "dry_run", "help"}
"""How a command talks."""
ELSEWHERE = {
    "policy": "a policy is for many tasks, and a `Task` is one",
    "track": "`deltaproof.api.tracking.tracked` makes a reporter of it",
    "machine": "a file with device, workers, backend, ray_address and checkpointing, which are parameters",
    "max_gas_price": "`max_gas_gwei`",
    "max_stake": "`limits`",
    "max_disk": "`limits`",
    "max_memory": "`limits`",
    "spec": "`draft`",
    "database": "`index`",
    "bundle": "a round that is no task of a network",
    "report": "`AuditReport.signed`",
    "html": "`deltaproof.pages.render`",
    "key": "of who signs a report; a role's is a parameter",
    "every": "a `Task` is one",
    "credit_to": "`deltaproof.chain.claims.claim_credit`",
    "csv_file": "pandas writes records",
    "parquet": "pandas writes records",
    "push": "a folder is a folder",
    "private": "a folder is a folder",
}


@pytest.mark.parametrize(
    ("command", "method"),
    [
        ("task init", Task.init), ("task create", Task.create), ("sponsor run", Task.sponsor),
        ("trainer run", Task.trainer), ("verifier run", Task.verifier), ("claim", Task.claim),
        ("history", Task.history), ("audit", Task.audit), ("task results", Task.results),
        ("task fund", Task.fund), ("explain", Task.explain),
    ],
)  # fmt: skip
def test_method_takes_what_its_command_takes(command: str, method: Callable[..., object]) -> None:
    group, _, name = command.partition(" ")
    found = command_of(group)
    options = {option.name for option in (found.commands[name] if name else found).params}
    taken = inspect.signature(method).parameters
    known = set(taken) | PLACE | SHOWN | ELSEWHERE.keys()
    if "settings" in taken:
        known |= {field.name for field in fields(Settings)}
    assert not options - known


def test_audit_draws_steps_that_nobody_knows_before() -> None:
    assert AuditOptions().draw_seed != AuditOptions().draw_seed
