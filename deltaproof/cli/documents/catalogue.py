"""Which document each command prints, and the JSON schema of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NotRequired

from pydantic import TypeAdapter

from deltaproof.cli.documents import audits, machines, participants, tasks
from deltaproof.cli.documents.forms import Json, Printed
from deltaproof.errors import UsageError

__all__ = ["EVENTS_ONLY", "RESULTS", "Failure", "SchemaOf", "adapter_of", "schema_of"]


class Failure(Printed):
    """The last line of a command that failed."""

    event: str
    """`error`."""
    message: str
    """What to do, for people."""
    problems: NotRequired[list[Json]]
    """Of a draft or spec: `key`, `problem`, `remedy` of each."""


class SchemaOf(Printed):
    """The JSON schema of what a command prints."""

    command: str
    schema: Json


RESULTS: Mapping[str, tuple[type, ...]] = {
    "agent backup": (participants.HomeBackup,),
    "agent policy": (participants.PolicyChecked, participants.PolicyWritten),
    "agent prune": (participants.PrunedHome,),
    "agent restore": (participants.HomeRestored,),
    "agent status": (participants.StatusList,),
    "audit": (audits.PrintedAuditReport,),
    "beacon publish": (machines.PublishedRounds,),
    "beacon show": (machines.DrandBeacon, machines.BlockhashBeacon),
    "bond clear": (participants.ClearedBond,),
    "calibrate": (machines.Calibrated,),
    "claim": (participants.ClaimedPay,),
    "control evaluate": (machines.PlayedPolicies,),
    "control next": (tasks.NextStep,),
    "control train": (machines.TrainedPolicy,),
    "data check": (machines.CheckedRows,),
    "data convert": (machines.ConvertedRows,),
    "demo": (audits.DemoSummary,),
    "deploy": (machines.Deployed, machines.PricedDeployment),
    "dispute answer": (participants.AnsweredDemand, participants.ClosedDemand, participants.WhatAnswerWould),
    "dispute demand": (participants.OpenedDemand, participants.DemandPrice),
    "dispute list": (participants.Disputes,),
    "dispute prove": (participants.Credit,),
    "dispute revote": (participants.OpenedCase,),
    "dispute show": (participants.PrintedDemand, participants.PrintedCase),
    "dispute vote": (participants.CaseAnswer, participants.VotePrice),
    "doctor": (machines.DoctorsFindings, machines.PrintedMachine),
    "explain": (audits.PrintedExplanation,),
    "export": (audits.ExportedRound,),
    "faucet": (machines.Minted,),
    "guardian accept": (participants.GuardianIs,),
    "guardian propose": (participants.Proposed,),
    "guardian rounds": (participants.RoundsPaused,),
    "guardian tasks": (participants.TasksPaused,),
    "history": (audits.PrintedHistory,),
    "index": (audits.Indexed,),
    "keys invite": (participants.Invitation,),
    "keys account": (participants.NewAccountKey,),
    "keys new": (participants.NewReadingKey,),
    "keys publish": (participants.AdaptersPublished,),
    "keys rotate": (participants.KeyRotated,),
    "methods": (machines.MethodList,),
    "methods recommend": (machines.Recommended,),
    "profile set": (participants.PrintedProfile,),
    "profile show": (participants.ProfileList,),
    "report": (audits.WrittenReport,),
    "schema": (SchemaOf,),
    "stake deposit": (participants.Deposit,),
    "stake leave": (participants.StakeSteps,),
    "stake show": (participants.ShownStake,),
    "stake withdraw": (participants.StakeSteps,),
    "task cancel": (tasks.PrintedTaskCancelled,),
    "task check": (tasks.CheckedTask,),
    "task create": (tasks.PrintedCreatedTask, tasks.RehearsedTask),
    "task expire": (tasks.TaskExpired,),
    "task fund": (tasks.FundedTask,),
    "task init": (tasks.TaskDraft,),
    "task list": (tasks.TaskList,),
    "task results": (tasks.PrintedTaskResults,),
    "task show": (tasks.ShownTask,),
}
"""What each command prints with `--json`: one of these documents, on one line."""
EVENTS_ONLY = (
    "beacon serve", "chain up", "relay run", "sponsor run", "store serve", "task watch", "trainer run", "verifier run",
    "watch",
)  # fmt: skip
"""Commands whose `--json` prints events (docs/commands.md) until they end."""


def adapter_of(command: str) -> TypeAdapter[Any]:
    """Checks what a command printed. Raises UsageError for one without a result."""
    if command not in RESULTS:
        why = "prints events, see docs/commands.md" if command in EVENTS_ONLY else "prints no JSON"
        raise UsageError(f"`{command}` {why}; with a result: {', '.join(RESULTS)}")
    first, *others = RESULTS[command]
    whole: Any = first
    for other in others:
        whole |= other
    return TypeAdapter(whole)


def schema_of(command: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of a command's result. Later versions may add keys. Raises UsageError."""
    schema = adapter_of(command).json_schema(mode="serialization")
    for table in _tables(schema):
        table.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _tables(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects with named keys that a schema is made of."""
    yield from (table for table in (schema, *schema.get("$defs", {}).values()) if "properties" in table)
