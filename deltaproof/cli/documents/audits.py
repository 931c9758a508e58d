"""Documents of `deltaproof audit`, `history`, `explain` and their kin.

Keys are written `likeThis` here, and amounts are JSON numbers of smallest units, as in the files that they write.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from deltaproof.cli.documents.forms import AccountAddress, Hex32, Json, Printed, Seconds

__all__ = [
    "AttestedVerdict",
    "ContractsAt",
    "DemoSummary",
    "ExplainedPayout",
    "ExportedRound",
    "HistoryOfRound",
    "HistoryOfTask",
    "HistoryOfTrainer",
    "HistoryOfVerifier",
    "Indexed",
    "Joined",
    "ParticipantTotals",
    "PassOfPath",
    "PrintedAuditReport",
    "PrintedCheckRecord",
    "PrintedExplanation",
    "PrintedHistory",
    "SlashRecord",
    "WrittenReport",
]  # fmt: skip


class ContractsAt(Printed):
    """Which contracts, and up to which block they were read."""

    id: int
    genesis: Hex32
    tasks: AccountAddress
    block: int
    blockHash: Hex32


class HistoryOfTrainer(Printed):
    """A trainer's round. Verdict, score and pay are null before a settlement stands."""

    trainer: AccountAddress
    verdict: str | None
    scoreNanos: int | None
    """Held-out loss improvement that it is worth, nano-nats."""
    stderrNanos: int | None
    discountBps: int | None
    payout: int | None
    claimed: int
    commitment: Hex32
    deltaDigest: Hex32 | None
    """Null for a commitment without a reveal."""
    transcriptRoot: Hex32 | None
    commitTransaction: Hex32
    revealTransaction: Hex32 | None
    claimTransaction: Hex32 | None


class HistoryOfVerifier(Printed):
    """A verifier's round."""

    verifier: AccountAddress
    attested: bool
    agreed: bool
    """Whether its verdicts are those that were settled."""
    signed: bool
    fee: int
    feeClaimed: int
    slashReward: int
    slashRewardClaimed: int
    stake: int


class SlashRecord(Printed):
    """Stake that was lost; of the stake token."""

    account: AccountAddress
    role: str
    amount: int
    reason: str
    transaction: Hex32


class HistoryOfRound(Printed):
    """A round. Losses in nats."""

    round: int
    outcome: str
    """`running`, `settled`, `failed`, ..."""
    startDigest: Hex32
    nextStartDigest: Hex32 | None
    improvementNanos: int | None
    totalPayout: int
    settlementTransaction: Hex32 | None
    startLoss: float | None
    """Null where the store has no attestation."""
    startAccuracy: float | None
    endLoss: float | None
    endAccuracy: float | None
    truncation: float | None
    """Share of the next adapter's norm that the method's form could not hold."""
    emulators: list[Json]
    """Of a federation: `emulator`, `loss`, `accuracy` of the next adapter."""
    openedAt: Seconds
    endedAt: Seconds | None
    trainers: list[HistoryOfTrainer]
    verifiers: list[HistoryOfVerifier]
    slashes: list[SlashRecord]
    disputes: list[Json]
    """`kind`, `id`, `by`, `result`, `transaction`."""


class HistoryOfTask(Printed):
    """A task with its rounds."""

    task: int
    name: str | None
    sponsor: AccountAddress
    specHash: Hex32
    token: AccountAddress
    rounds: int
    budgetPerRound: int
    history: list[HistoryOfRound]


class ParticipantTotals(Printed):
    """What an account did and got in these tasks."""

    account: AccountAddress
    payouts: int
    claimed: int
    fees: int
    slashed: int
    rounds: int


class PrintedHistory(Printed):
    """Who contributed what, what it was worth, and what was paid."""

    chain: ContractsAt
    tasks: list[HistoryOfTask]
    participants: list[ParticipantTotals]


class AttestedVerdict(Printed):
    """What one verifier attested about the trainer."""

    verifier: AccountAddress
    verdict: str
    steps: list[int]
    """Replayed."""
    scoreNanos: int


class ExplainedPayout(Printed):
    """The payout rule, number by number (docs/protocol/payouts.md)."""

    verdict: str
    scoreNanos: int
    stderrNanos: int
    discountBps: int
    released: int
    """What the round's improvement released of the budget."""
    floor: int
    pool: int
    """Left for scores."""
    weight: int
    totalWeight: int
    quotient: int
    remainder: int
    unit: int
    cap: int
    payout: int
    leaf: int
    """Place in the settlement's tree."""
    proof: list[Hex32]
    root: Hex32


class Joined(Printed):
    """What joining a coalition was worth."""

    joined: list[int]
    """Players of the coalition, this one among them."""
    gainNanos: int


class PassOfPath(Printed):
    """A pass along the round's step, where scores are Aumann-Shapley values."""

    valueNanos: int
    gainNanos: int
    part: float
    slopesNanos: list[int]


class PrintedExplanation(Printed):
    """The numbers behind each sentence of `explain`; a key is missing where there was nothing to say."""

    task: int
    round: int
    trainer: AccountAddress
    commitment: Hex32
    deltaDigest: NotRequired[Hex32]
    transcriptRoot: NotRequired[Hex32]
    verifiers: list[AttestedVerdict]
    truncation: NotRequired[float]
    """Share of the next adapter's norm that the method's form could not hold."""
    emulators: NotRequired[list[Json]]
    rows: NotRequired[Json]
    """Where distinct rows count: `trainer`, `rows`, `opened`, `repeated`, `earlier`, `counted`."""
    sharesDataWith: NotRequired[list[AccountAddress]]
    """Others who enrolled the same data root."""
    marginals: NotRequired[list[Joined]]
    passes: NotRequired[list[PassOfPath]]
    payout: NotRequired[ExplainedPayout]
    claimed: int
    slashed: NotRequired[int]
    """Of the stake token."""


class PrintedCheckRecord(Printed):
    """One comparison of an audit."""

    name: str
    status: Literal["pass", "fail", "not_checkable"]
    task: int
    round: int | None
    participant: str | None
    step: int | None
    expected: str | None
    """What was recomputed."""
    actual: str | None
    """What chain or store say."""
    transaction: str | None
    artifact: str | None
    """Path in the store."""
    reason: str


class PrintedAuditReport(Printed):
    """Every check. Exit code 1 if one failed."""

    chain: ContractsAt
    options: Json
    """How deep the audit went, and the seed of its draws."""
    blindTo: list[str]
    """What such an audit cannot see."""
    passed: int
    failed: int
    notCheckable: int
    sealedRows: int
    sealedAdapters: int
    checks: list[PrintedCheckRecord]
    digest: Hex32
    """Of all the keys above; what is signed."""
    signer: NotRequired[AccountAddress]
    """With `--key`."""
    signature: NotRequired[str]
    """EIP-191, over the digest."""
    failures: list[PrintedCheckRecord]
    unchecked: list[PrintedCheckRecord]
    seconds: float


class WrittenReport(Printed):
    """The page that was written. Exit code 1 if a check failed."""

    file: str
    bytes: int
    checks: int
    passed: bool


class ExportedRound(Printed):
    """A round as one file."""

    task: int
    round: int
    file: str
    artifacts: int
    bytes: int


class Indexed(Printed):
    """One look at the chain; with `--follow` a line for each."""

    event: Literal["indexed"]
    block: int
    blockHash: Hex32
    new: int
    """Events that were new."""
    rolledBackTo: int | None
    """After a reorganisation: the last block that stayed."""
    seconds: float
    blocks: int
    """Rows of this table, as of the three below."""
    events: int
    transactions: int
    leaves: int


class DemoSummary(Printed):
    """How the demo came out. Exit code 1 if a promise was broken."""

    name: str
    seed: int
    chain: str
    kept: bool
    """Whether every promise was."""
    promises: list[Json]
    outcomes: list[Json]
    """Of each trainer in each round."""
    names: dict[str, list[int]]
    """With `--sybil`: what three names of one person were paid beside one, by round."""
    slashed: dict[str, int]
    """By participant."""
    verifier_fees: dict[str, Json]
    held_out: Json
    """As `task results`."""
    accuracy: dict[str, float]
    audit: Json
    """As `audit`."""
    audit_outside: NotRequired[Json]
    """With `--fedpeat`: the audit of somebody without the full model."""
    gaps: NotRequired[list[Json]]
    """Accuracy in the full model and on the emulator, by `round`."""
    leaked: NotRequired[list[str]]
    """Names of trainers in whose files the owner's model was found."""
    adapter: str
    report: str
    seconds: float
    continued: bool
    """Whether a stopped run went on."""
