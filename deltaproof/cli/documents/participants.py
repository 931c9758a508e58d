"""Documents of stakes, pay, profiles, reading keys, disputes, homes and the guardian's office."""

from __future__ import annotations

from typing import Literal, NotRequired

from deltaproof.cli.documents.forms import AccountAddress, Hex32, Json, Printed, Seconds, Units

__all__ = [
    "AdaptersPublished",
    "AnsweredDemand",
    "CaseAnswer",
    "ClaimedPay",
    "ClaimedRound",
    "ClearedBond",
    "ClosedDemand",
    "Credit",
    "DemandPrice",
    "Deposit",
    "Disputes",
    "GuardianIs",
    "HomeBackup",
    "HomeRestored",
    "Invitation",
    "KeyRotated",
    "NewAccountKey",
    "NewReadingKey",
    "OpenedCase",
    "OpenedDemand",
    "PolicyChecked",
    "PolicyWritten",
    "PrintedCase",
    "PrintedDemand",
    "PrintedProfile",
    "PrintedStakeStep",
    "ProfileList",
    "Proposed",
    "PrunedHome",
    "PrunedWork",
    "RoleStake",
    "RoleStatus",
    "RoundsPaused",
    "ShownStake",
    "StakeSteps",
    "StatusList",
    "TaskFits",
    "TasksPaused",
    "VotePrice",
    "WhatAnswerWould",
]  # fmt: skip


class RoleStake(Printed):
    """Stake of an account in one role."""

    total: Units
    free: Units
    locked: Units
    """In tasks."""
    unbonding: Units
    """On its way out."""
    withdrawable_at: Seconds


class ShownStake(Printed):
    """What an account has staked, by role."""

    account: AccountAddress
    trainer: RoleStake
    verifier: RoleStake
    challenger: RoleStake


class Deposit(Printed):
    """Stake that was added."""

    deposited: Units
    role: str
    account: AccountAddress
    """Whose stake it is."""


class PrintedStakeStep(Printed):
    """One thing that was done, or that has to wait."""

    done: bool
    message: str
    """For people."""
    until: int | None
    """From when on the next call does more, seconds since the epoch; null where no time is known."""


class StakeSteps(Printed):
    """What leaving or withdrawing came to."""

    steps: list[PrintedStakeStep]


class ClearedBond(Printed):
    """The bond of a commitment that was never revealed."""

    trainer: AccountAddress
    round: int | None
    """Null where no bond was outstanding."""
    lost: Units
    """Of the stake."""


class ClaimedRound(Printed):
    """A payment."""

    task: int
    round: int
    kind: str
    """`reward`, `base`, `fee` or `slash reward`; the last is of the stake token, the others of the reward token."""
    amount: Units


class ClaimedPay(Printed):
    """What was paid. If the chain refused some of it, this comes before the error."""

    payee: AccountAddress
    claimed: list[ClaimedRound]
    credit: Units
    """For proofs, answers and votes, of the stake token."""


class PrintedProfile(Printed):
    """What an account says of itself; empty fields say nothing."""

    account: AccountAddress
    name: NotRequired[str]
    url: NotRequired[str]
    contact: NotRequired[str]
    issued: Seconds | None
    """When it was signed; null where the account says nothing, and then the other keys are missing."""


class ProfileList(Printed):
    """In the order that was asked for."""

    profiles: list[PrintedProfile]


class NewAccountKey(Printed):
    """An account's key that was made."""

    file: str
    address: AccountAddress


class NewReadingKey(Printed):
    """A reading key that was made."""

    file: str
    public: Hex32


class KeyRotated(Printed):
    """The reading key that others seal for from now on."""

    account: AccountAddress
    epoch: int
    public: Hex32


class Invitation(Printed):
    """What a reader can open now."""

    reader: Hex32
    rounds: list[int]
    adapters: bool
    """Whether the task is private, and its deltas and adapters were opened, too."""


class AdaptersPublished(Printed):
    """A private task whose adapters everybody can read now."""

    task: int
    published: Literal[True]


class PrintedDemand(Printed):
    """Somebody was asked to show something, for a bond."""

    number: int
    kind: str
    task: int
    round: int
    respondent: AccountAddress
    challenger: AccountAddress
    deadline: Seconds
    subject: AccountAddress
    """Whose score or leaf."""
    step: int
    component: str
    chunk: int
    closed: bool


class PrintedCase(Printed):
    """A vote of all staked verifiers about a settlement."""

    number: int
    task: int
    round: int
    phase: str
    level: int
    """0, and one more for each appeal."""
    overturned: bool
    deadline: Seconds
    electorate: Units
    """Stake that can be drawn for seats."""
    settlement: Hex32


class CaseAnswer(Printed):
    """A case after `dispute vote` did what it waited for."""

    case: int
    task: int
    round: int
    phase: str
    level: int
    overturned: bool
    deadline: Seconds
    electorate: Units
    settlement: Hex32


class Disputes(Printed):
    """The newest first."""

    demands: list[PrintedDemand]
    cases: list[PrintedCase]


class DemandPrice(Printed):
    """With `--dry-run`: what a demand costs."""

    bond: Units
    seconds: int
    """Time to answer."""


class OpenedDemand(Printed):
    """A demand that was sent."""

    demand: int
    bond: Units
    deadline: Seconds


class WhatAnswerWould(Printed):
    """With `--dry-run`: what would be done."""

    would: str


class AnsweredDemand(Printed):
    """A demand that was answered."""

    answered: int


class ClosedDemand(Printed):
    """A demand that nobody answered in time."""

    closed: int


class Credit(Printed):
    """Credit of the key, of the stake token; `claim` pays it out."""

    credit: Units


class OpenedCase(Printed):
    """A case, or an appeal. With `--dry-run` only `bond` and `level`."""

    case: NotRequired[int]
    level: int
    bond: Units
    evidence: NotRequired[Hex32]


class VotePrice(Printed):
    """With `--dry-run`: what a vote risks."""

    seats: int
    at_risk: Units


class RoleStatus(Printed):
    """What a role of a home does."""

    role: str
    account: str | None
    """Null before it is connected."""
    tasks: list[Json]
    """At work in: `task`, `round`, `phase`, `block`, `seconds_left`, `at_stake`."""
    others: list[Json]
    """Not at work in: `task`, `state`, `why`."""
    last: Json | None
    """Its last event."""
    healthy: bool
    seconds_since_chain: float
    at: Seconds
    errors: list[Json]


class StatusList(Printed):
    """The roles that have run in a home."""

    roles: list[RoleStatus]


class PrunedWork(Printed):
    """Files of a round that nobody can ask for any more."""

    task: int
    round: int
    path: str
    bytes: int


class PrunedHome(Printed):
    """What was removed, or with `--dry-run` would be."""

    removed: list[PrunedWork]
    bytes: int
    dry_run: bool


class TaskFits(Printed):
    """An open task beside a policy."""

    task: int
    fits: bool
    why: str
    """Why not; empty if it fits."""


class PolicyWritten(Printed):
    """With `--init`."""

    file: str


class PolicyChecked(Printed):
    """A policy without a fault."""

    policy: str
    tasks: list[TaskFits]
    """Empty without `--rpc` and `--contract`."""


class HomeBackup(Printed):
    """An encrypted file that was written."""

    file: str
    bytes: int


class HomeRestored(Printed):
    """A home that was filled."""

    home: str
    files: int


class TasksPaused(Printed):
    """Whether the guardian refuses new tasks."""

    new_tasks_paused: bool


class RoundsPaused(Printed):
    """Whether the guardian refuses new rounds."""

    new_rounds_paused: bool


class Proposed(Printed):
    """Who may take the guardian's office in two days."""

    proposed: AccountAddress


class GuardianIs(Printed):
    """Who took the office."""

    guardian: AccountAddress
