"""Documents of `deltaproof task` and `deltaproof sponsor`."""

from __future__ import annotations

from typing import Literal, NotRequired

from deltaproof.cli.documents.forms import AccountAddress, Gain, Hex32, Json, Printed, Seconds, Units
from deltaproof.cli.documents.machines import WorkInPhase

__all__ = [
    "AttackGain",
    "CheckedTask",
    "FundedTask",
    "Funding",
    "GainByNames",
    "LoneResult",
    "NextStep",
    "PrintedCreatedTask",
    "PrintedEconomics",
    "PrintedEstimate",
    "PrintedQuality",
    "PrintedStability",
    "PrintedTaskCancelled",
    "PrintedTaskResults",
    "RehearsedTask",
    "ShownTask",
    "StakesOfTask",
    "TaskDraft",
    "TaskExpired",
    "TaskList",
    "TaskRow",
    "VerificationCost",
    "WorkOfRound",
]


class TaskDraft(Printed):
    """The draft that was written, and how the rows were cut."""

    draft: str
    """File of the draft."""
    kind: str
    """Kind of model, read off the rows."""
    rounds: int
    validation_rows: int
    """Hidden rows of each round."""
    test_rows: int
    """Rows of the test set."""


class AttackGain(Printed):
    """What one kind of attack wins in a round, less what it loses."""

    who: str
    does: str
    nets: list[Gain]
    """For each of `verifier_stake_percent`; of the reward token."""
    pays: bool
    """Whether it wins something."""
    own: bool
    """Whether it is the sponsor's own power, which the terms show to everybody."""
    key: str
    """The spec key that decides it."""


class GainByNames(Printed):
    """What the terms leave to whoever enrols one shard under many names."""

    gain: float
    """Pay over that under one name, at most."""
    names: int
    """With so many names."""
    remedy: str
    """What would leave less; empty for nothing."""
    idle_gain: float
    """The same in a round that improves nothing."""
    measured: list[Json]
    """Largest measured gains by kind of game: `kind`, `names`, `gain`, `interval`, `worlds`, `share`."""


class PrintedEconomics(Printed):
    """What each kind of attack would win or lose in a round under the terms."""

    verifier_stake_percent: list[int]
    """Parts of the verifiers' stake that an attacker may have."""
    attacks: list[AttackGain]
    better: dict[str, str]
    """Spec keys with values under which no attack pays; amounts in smallest units."""
    names: GainByNames


class WorkOfRound(Printed):
    """How long a round's work takes, from a step that was measured here, divided by `--speed`."""

    step_seconds: float
    replay_seconds: float
    """Of one drawn step."""
    evaluation_seconds: float
    """Of one adapter on a round's hidden rows."""
    phases: dict[str, WorkInPhase]
    """`commit` and `attest_commit`, with the fewest trainers."""
    most_trainers: int
    """So many a verifier can check in its phase; 1,000 for more."""
    values: int
    """That a trainer tunes."""
    published_bytes: int
    """That a trainer publishes in a round at most, besides openings."""


class VerificationCost(Printed):
    """What checking a round costs, with the fewest trainers."""

    trainers: int
    replays: int
    """Steps that one verifier computes again."""
    evaluations: int
    """Evaluations of the hidden rows that one verifier makes, at most."""
    seconds: float
    """Of one verifier with one worker."""
    gas: int
    """Of one verifier."""
    fee: Units
    """To all verifiers together, of the reward token."""
    fee_bps: int
    """The same in basis points of the trainers' pay."""


class Funding(Printed):
    """What the task needs, of the reward token."""

    per_round: Units
    """Pay of trainers and verifiers, at most."""
    rounds: int
    total: Units
    """For every round: what `task create --fund` takes."""


class PrintedStability(Printed):
    """What a rounding of every gradient value made of a round at one learning rate."""

    learning_rate: float
    steps: int
    """Steps that were looked at; fewer than the round has where `--patience` was over."""
    moved: float | None
    """Distance of the two adapters over the way that training went; null where training diverges. From 0.01 on rounding
    decides how the round ends."""
    loss: float | None
    """Mean of the last steps, nats; null where training diverges."""


class CheckedTask(Printed):
    """A draft without a problem. With one the command fails, and the error has the list."""

    spec: str
    problems: list[Json]
    """Always empty here."""
    notes: list[str]
    """What else is worth knowing, for people."""
    economics: NotRequired[PrintedEconomics]
    """This and the keys below are missing for a federation, whose emulators are not made yet."""
    work: NotRequired[WorkOfRound]
    verification: NotRequired[VerificationCost]
    funding: NotRequired[Funding]
    stability: NotRequired[list[PrintedStability]]
    """The task's own learning rate first, then half of it and so on, as far as rounding decides."""


class RehearsedTask(Printed):
    """A task that could be created; nothing was sent."""

    dry_run: Literal[True]
    spec_hash: Hex32
    start_digest: Hex32
    """Of the adapter that the first round starts from."""
    parameters: int
    """Trained values."""
    funded: Units
    verifiers_away: int
    """So many of the fewest verifiers can be away, and rounds still settle."""
    verifiers_lying: int
    """So many may lie together without deciding a settlement."""
    economics: PrintedEconomics
    gas_wei: Units
    """Price of the transaction, as the node estimates; wei of the chain's coin."""


class PrintedCreatedTask(Printed):
    """A task that was created."""

    task: int
    spec_hash: Hex32
    start_digest: Hex32
    """Of the adapter that the first round starts from."""
    parameters: int
    """Trained values."""
    funded: Units
    verifiers_away: int
    """So many of the fewest verifiers can be away, and rounds still settle."""
    verifiers_lying: int
    """So many may lie together without deciding a settlement."""
    economics: PrintedEconomics
    transaction: Hex32
    published: bool
    """Whether the task's files are in the store; if not, `sponsor run` puts them there."""


class StakesOfTask(Printed):
    """What a participant locks at least."""

    trainer: Units
    verifier: Units


class PrintedEstimate(Printed):
    """What a round means for this machine: arithmetic, nothing was loaded."""

    role: str
    weights_bytes: int | None
    pay_per_round: Units
    """An equal share of the most that a round pays, with one more participant."""
    seconds_per_round: float | None
    phase_seconds: int
    """The phase that the work has to fit."""
    gas_per_round: int
    gas_price_wei: Units


class TaskRow(Printed):
    """A task of the list. What comes from its spec is null where the store has no valid spec."""

    task: int
    name: str | None
    sponsor: AccountAddress
    kind: str | None
    model: str | None
    method: str | None
    token: AccountAddress
    budget_per_round: Units
    balance: Units
    round: int
    """Last round that was opened; 0 before the first."""
    rounds: int
    phase: str
    deadline: Seconds
    ended: bool
    open: bool
    """Whether another round can begin and be paid."""
    trainers: int
    verifiers: int
    stake: StakesOfTask
    estimate: PrintedEstimate | None
    """Null without `--estimate`."""
    problem: str | None
    """Why the spec cannot be trusted or read."""


class TaskList(Printed):
    """Tasks that can be taken part in, the best paid first."""

    tasks: list[TaskRow]
    of: int
    """How many tasks there are on the contract."""


class ShownTask(Printed):
    """A task's terms, where it is, and who takes part."""

    task: int
    sponsor: AccountAddress
    token: AccountAddress
    round: int
    rounds: int
    phase: str
    deadline: Seconds
    cancelled: bool
    ended: bool
    budget_per_round: Units
    balance: Units
    reserved: Units
    """Beside the balance: set aside for the running round."""
    adapter: Hex32
    """Digest of the newest adapter."""
    trainers: list[AccountAddress]
    verifiers: list[AccountAddress]
    spec_hash: Hex32
    spec: Json
    """Every key of the terms, as in the spec."""
    profiles: dict[AccountAddress, Json]
    """What participants say of themselves: `account`, `name`, `url`, `contact`, `issued`, `signature`."""


class FundedTask(Printed):
    """What was added, and what the escrow holds now."""

    task: int
    funded: Units
    balance: Units
    """For rounds that are to come."""
    reserved: Units
    """Beside the balance: set aside for the running round."""


class TaskExpired(Printed):
    """Rounds whose unclaimed pay went back."""

    task: int
    rounds: list[int]


class PrintedTaskCancelled(Printed):
    """A task that its sponsor ended."""

    task: int
    transaction: Hex32


class PrintedQuality(Printed):
    """Of an adapter on the held-out test set."""

    loss: float
    """Nats."""
    accuracy: float


class LoneResult(Printed):
    """A trainer's last delta alone on the start."""

    trainer: AccountAddress
    loss: float
    """Nats."""
    accuracy: float


class PrintedTaskResults(Printed):
    """What came of a task, on its held-out test set."""

    task: int
    final_digest: Hex32
    start: PrintedQuality
    final: PrintedQuality
    alone: list[LoneResult]
    adapter: str | None
    """Folder that `--out` wrote."""
    published: str | None
    """URL of the commit, with `--push`."""


class NextStep(Printed):
    """Keys of `[federation.control]` for the step after this task."""

    step: int
    previous_task: int
    gained_nanos: int
    last_nanos: int
    start: str
    """File of the adapter to start from."""
