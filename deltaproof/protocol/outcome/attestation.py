"""What one verifier found in one round: verdicts with their evidence, coalition values, scores.

The document is committed (sealed) before anybody else's is visible and published at the reveal. Everything in it can be
recomputed from the spec, the chain and the artifacts, which is what other verifiers and auditors do with it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, FailFast, Field

from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict
from deltaproof.protocol.rules import (
    BPS,
    MAX_ATTESTATION_BYTES,
    MAX_CHECKS,
    MAX_COALITIONS,
    MAX_EARLIER,
    MAX_LEAVES,
    MAX_MESSAGE,
    PATH_NODES,
    PATH_PASSES,
)
from deltaproof.protocol.types import Address, AddressField, DigestField, TokenAmount, address_bytes
from deltaproof.protocol.wire.documents import Document, Record

__all__ = [
    "Attestation",
    "CheckRecord",
    "CoalitionValue",
    "EmulatorScore",
    "Findings",
    "GameRecord",
    "PathRecord",
    "PathShare",
    "ReadRecord",
    "RowRecord",
    "TrainerFinding",
]

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
UInt64 = Annotated[int, Field(ge=0, le=2**64 - 1)]
UInt32 = Annotated[int, Field(ge=0, le=2**32 - 1)]


class CheckRecord(Record):
    """The outcome of one check: of a replayed step, or of the whole submission (step -1)."""

    step: Annotated[int, Field(ge=-1, le=2**32 - 1)]
    check: Annotated[str, Field(max_length=64)]
    passed: bool
    measured: float
    """How far off, in the check's own unit (relative L2 for gradients, the limit for drift); 0 for an equality."""
    message: Annotated[str, Field(max_length=MAX_MESSAGE)]


class ReadRecord(Record):
    """That the verifier had the bytes of an artifact before it sealed this document (`reads`)."""

    step: Annotated[int, Field(ge=-1, le=2**32 - 1)]
    """Whose opening was read; -1 for the delta."""
    receipt: DigestField


class TrainerFinding(Record):
    """What the verifier holds of one trainer who committed."""

    trainer: AddressField
    verdict: Verdict
    score_nanos: Int64 = 0
    stderr_nanos: UInt64 = 0
    discount_bps: Annotated[int, Field(ge=0, le=BPS)] = 0
    checks: Annotated[tuple[CheckRecord, ...], Field(max_length=MAX_CHECKS), FailFast()] = ()
    reads: Annotated[tuple[ReadRecord, ...], Field(max_length=MAX_CHECKS), FailFast()] = ()
    """The delta, then each opening that a check was made on."""

    def failure(self) -> CheckRecord | None:
        """The first check that failed."""
        return next((check for check in self.checks if not check.passed), None)

    def leaf(self, payout: int = 0) -> SettlementLeaf:
        """The finding as a settlement leaf."""
        return SettlementLeaf(
            trainer=self.trainer,
            verdict=self.verdict,
            score_nanos=self.score_nanos,
            stderr_nanos=self.stderr_nanos,
            discount_bps=self.discount_bps,
            payout=TokenAmount(payout),
        )


def _in_order(findings: tuple[TrainerFinding, ...]) -> tuple[TrainerFinding, ...]:
    order = [address_bytes(finding.trainer) for finding in findings]
    if order != sorted(set(order)):
        raise ValueError("findings must be sorted by address, one per trainer")
    return findings


Findings = Annotated[tuple[TrainerFinding, ...], Field(max_length=MAX_LEAVES), FailFast(), AfterValidator(_in_order)]
"""Sorted by address, one per trainer."""


class CoalitionValue(Record):
    """v(S) of one evaluated coalition."""

    members: Annotated[tuple[UInt32, ...], FailFast()]
    """Indices into `GameRecord.players`, ascending."""
    value_nanos: Int64
    """Improvement of the mean held-out loss over the starting adapter, nano-nats."""


class PathShare(Record):
    """A player's part of a step, and how steeply the loss falls along it at each node of the path."""

    player: UInt32
    """Index into `GameRecord.players`."""
    units: UInt32
    """Its share of the step, in units of 1 / STEP_UNITS."""
    slopes_nanos: Annotated[tuple[Int64, ...], Field(max_length=len(PATH_NODES)), FailFast()]
    """Nano-nats, one for each of PATH_NODES."""


class PathRecord(Record):
    """One pass of an Aumann-Shapley value."""

    gain_nanos: Int64
    """Improvement of the mean held-out loss by the step, nano-nats."""
    shares: Annotated[tuple[PathShare, ...], FailFast()]
    """Of the players who are still there, ascending."""


class RowRecord(Record):
    """What openings say of the rows of an accepted trainer (`incentives.row_evidence`)."""

    trainer: AddressField
    rows: UInt32
    """That the round's steps read."""
    counted: UInt32
    """Of these, what the trainer's weight counts."""
    opened: UInt32
    repeated: UInt32
    """Of those opened, what repeats another of its own or an earlier trainer's."""
    earlier: Annotated[tuple[AddressField, ...], Field(max_length=MAX_EARLIER), FailFast()] = ()
    """Who had some of them before, in leaf order: the first `MAX_EARLIER`."""


class EmulatorScore(Record):
    """How the next adapter does on an emulator, where `GameRecord.end_loss` says how it does in the full model."""

    emulator: Annotated[str, Field(max_length=40)]
    loss: float
    accuracy: float


class GameRecord(Record):
    """Every coalition that the estimator asked for, in the order of evaluation; or every pass along the step."""

    players: Annotated[tuple[AddressField, ...], FailFast()]
    start_loss: float
    start_accuracy: float
    end_loss: float
    end_accuracy: float
    method: Annotated[str, Field(max_length=64)]
    coalitions: Annotated[tuple[CoalitionValue, ...], Field(max_length=MAX_COALITIONS), FailFast()]
    passes: Annotated[tuple[PathRecord, ...], Field(max_length=PATH_PASSES), FailFast()] = ()
    """Of `aumann_shapley`, which evaluates no coalition."""
    rows: Annotated[tuple[RowRecord, ...], Field(max_length=MAX_LEAVES), FailFast()] = ()
    """Of every accepted trainer in leaf order, where distinct rows count."""
    emulators: Annotated[tuple[EmulatorScore, ...], Field(max_length=16), FailFast()] = ()
    """Of a federation: each emulator in the spec's order, on the same rows."""
    truncation: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the next adapter's norm that the method's form could not hold (`aggregate_thetas`)."""


class Attestation(Document, kind="attestation", max_bytes=MAX_ATTESTATION_BYTES):
    """One verifier's document for one round."""

    task: UInt64
    round: UInt32
    verifier: AddressField
    findings: Findings
    """One per trainer who committed, sorted by address."""
    game: GameRecord | None
    """None when nothing was scored: no accepted delta, or the validation set was withheld."""
    improvement_nanos: Int64
    """Loss improvement of the adapter that the next round starts from."""
    next_start_digest: DigestField

    def leaves(self) -> tuple[SettlementLeaf, ...]:
        """The findings as settlement leaves without pay: what verdicts digest and scores root are made of."""
        return tuple(finding.leaf() for finding in self.findings)

    def by_trainer(self) -> dict[Address, TrainerFinding]:
        return {finding.trainer: finding for finding in self.findings}
