"""Sections of a spec that say what a delta is worth and what happens in a round: aggregation, scoring, pay, phases."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from deltaproof.protocol.rules import (
    BPS,
    MAX_ABSENCE_BPS,
    MAX_ADAPTER_RANK,
    MAX_BATCH_ROWS,
    MAX_BETA,
    MAX_COMMITTEE,
    MAX_EVALUATIONS,
    MAX_LEAVES,
    MAX_PHASE_SECONDS,
    MAX_PROVER_BPS,
    MAX_ROUNDS,
    MAX_SAMPLES,
    MAX_TOLERANCE_NANOS,
    MAX_VALIDATION_ROWS,
    MIN_BASE_BPS,
    MIN_COMMITTEE,
    MIN_SIMILARITY,
    MIN_TOLERANCE_NANOS,
    MIN_VALIDATION_ROWS,
)
from deltaproof.protocol.terms._fields import BasisPoints, Positive, Seconds
from deltaproof.protocol.terms.estimators import Estimator, IndexName
from deltaproof.protocol.types import AmountField, DigestField
from deltaproof.protocol.wire.documents import Record

__all__ = [
    "AggregationSection",
    "PhasesSection",
    "RewardsSection",
    "ScoringSection",
    "ValidationSection",
    "VerificationSection",
]

_Beta = Annotated[int, Field(ge=1, le=MAX_BETA)]


class AggregationSection(Record):
    """How the accepted deltas become the next starting adapter."""

    rule: Literal["mean", "median", "trimmed_mean", "multi_krum"] = "mean"
    """How members are combined."""
    include: Literal["positive", "accepted"] = "positive"
    """Every accepted delta, or only those with a positive score."""
    weights: Literal["equal", "rows"] = "equal"
    """What a member weighs: as much as any other, or as its enrolled rows."""
    rank: Annotated[int, Field(ge=0, le=MAX_ADAPTER_RANK)] = 0
    """Rank of the aggregate's low-rank pairs, at most the method's; 0 keeps the method's."""
    trim_fraction: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    """Share of the weight that is cut off at each end; trimmed_mean only."""
    byzantine: Annotated[int, Field(ge=0, le=MAX_ADAPTER_RANK)] = 0
    """Hostile deltas that are tolerated; multi_krum only."""


class ScoringSection(Record):
    """What a delta is worth, how that is found, and what counts as a copy."""

    index: IndexName = "shapley"
    """What a delta is worth: a semivalue of the round's game, or `aumann_shapley`, which names cannot buy: the integral
    along the round's step. It needs `aggregation.rule = "mean"` and `aggregation.weights = "rows"`."""
    rows: Literal["enrolled", "distinct"] = "enrolled"
    """What a trainer's weight counts under `aumann_shapley`: the rows that it enrolled, or only those that nobody had
    enrolled before it, by the rows of all drawn steps (`incentives.row_evidence`)."""
    method: Estimator = "auto"
    """The estimator. Where 2^players coalitions fit the budget, values are exact by any; where the budget does not pay
    for it, `auto` takes its place (docs/protocol.md, section 9)."""
    budget: Annotated[int, Field(ge=1, le=MAX_EVALUATIONS)] = 256
    """Most coalition evaluations of a round; as many more as `auto` needs for the players who are there."""
    beta_a: _Beta = 1
    """First parameter of beta_shapley, a whole number; larger favours small coalitions."""
    beta_b: _Beta = 1
    """Second parameter of beta_shapley, a whole number; larger favours large coalitions."""
    tolerance_nanos: Annotated[int, Field(ge=MIN_TOLERANCE_NANOS, le=MAX_TOLERANCE_NANOS)] = 1_000_000
    """Largest difference between two verifiers' scores that still counts as agreement, nano-nats."""
    similarity_threshold: Annotated[float, Field(ge=MIN_SIMILARITY, le=1.0)] = 1.0
    """Cosine similarity of two updates in product space from which the later one scores nothing, if they have no row in
    common. 1 looks for nobody: a replay shows whose work a delta is, and honest deltas may be alike."""
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_ROWS)] = 64
    """Validation rows per forward pass."""


class ValidationSection(Record):
    """Commitments to the hidden validation sets: one for each round in order, then the final test set."""

    commitments: tuple[DigestField, ...]
    """Keccak-256 of digest and salt of each set; computed by `deltaproof task create` if left out."""
    rows: Annotated[int, Field(ge=MIN_VALIDATION_ROWS, le=MAX_VALIDATION_ROWS)]
    """Rows of each round's set."""


class RewardsSection(Record):
    """Money, in smallest units of the reward token (integers or decimal strings)."""

    budget_per_round: AmountField
    """Most that the trainers of one round earn together, smallest units; from 1 to 2^88-1."""
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    """Rounds of the task."""
    verifier_fee_bps: BasisPoints
    """Paid to the verifiers of a settled round on top of its budget, basis points of the budget."""
    target_nanos: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    """Improvement, nano-nats, at which the whole budget is released; 0 releases it always."""
    floor_bps: BasisPoints = 0
    """Of the released budget, to every accepted trainer before scores count, basis points."""
    cap_bps: Annotated[int, Field(ge=1, le=BPS)] = BPS
    """Of the released budget, the most that one trainer gets before the base tops it up, basis points."""
    base_bps: Annotated[int, Field(ge=MIN_BASE_BPS, le=BPS)] = 2_000
    """Least that accepted work is paid, and what a round without a settlement pays, basis points of the budget."""


class VerificationSection(Record):
    """Samples, quorum and what is at stake."""

    samples: Annotated[int, Field(ge=0, le=MAX_SAMPLES)]
    """Drawn steps of each trainer, besides the first and the last: one sample, which every verifier replays; all steps
    between if there are fewer."""
    run: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] = 1
    """Drawn steps come in runs of so many consecutive ones; `samples` is a multiple. A verifier fetches one state for
    each, and in exact mode no gradient. Corruption that lies close together is found as seldom as a single step."""
    quorum_bps: Annotated[int, Field(gt=BPS // 2, le=BPS)] = 6_600
    """Share of the enrolled verifier stake that must sign a settlement, basis points. A hair below two thirds, so that
    one of three equal verifiers may be away."""
    commit_bond: AmountField
    """Part of a trainer's stake that a commitment without a reveal costs, smallest units of the stake token."""
    slash_bps: BasisPoints
    """Of the locked stake, lost for a rejected or withheld round or a proven fault, basis points."""
    prover_bps: Annotated[int, Field(ge=0, le=MAX_PROVER_BPS)] = 2_000
    """Of a slash, to whoever proved the fault, basis points; the rest is burned."""
    absence_bps: Annotated[int, Field(ge=1, le=MAX_ABSENCE_BPS)] = 100
    """Of a verifier's stake, lost for a round without attestation, basis points; doubles with each round in a row."""
    min_trainer_stake: AmountField
    """Stake that a trainer locks, smallest units of the stake token; at most 2^96-1."""
    min_verifier_stake: AmountField
    """Least stake that a verifier locks, smallest units of the stake token; from 1 to 2^96-1."""
    min_trainers: Positive = 1
    """Enrolled trainers without whom no round opens."""
    max_trainers: Annotated[int, Field(ge=1, le=MAX_LEAVES)] = 64
    """Trainers who take part at a time. More than a verifier can judge in half of `phases.attest_commit` would make
    every round one that nobody can settle."""
    min_verifiers: Positive = 1
    """Enrolled verifiers without whom no round opens."""
    committee: Annotated[int, Field(ge=0, le=MAX_COMMITTEE)] = 0
    """Verifiers, drawn by stake for each trainer, who replay it; others take over that it is accepted where two thirds
    of their stake say so and nobody of them anything else, and replay it themselves where not. 0, or no fewer than
    there are, means everybody."""

    @field_validator("committee")
    @classmethod
    def _somebody_contradicts(cls, value: int) -> int:
        if 0 < value < MIN_COMMITTEE:
            raise ValueError("nobody contradicts a committee of one; name 0 for everybody, or at least 2")
        return value


class PhasesSection(Record):
    """Longest duration of each phase of a round, seconds; a phase ends early when all who may act have acted.

    Drawing a seed has no duration of its own: it ends when the beacon has decided.

    On a test chain (ids 31337 and 1337) seconds are enough. Elsewhere the contract asks for ten minutes at least in
    `commit` to `settle`, and for a day in `window`, `slash` and `activation`.
    """

    commit: Seconds
    """For training and committing, seconds."""
    reveal: Seconds
    """For revealing deltas, seconds."""
    opening: Seconds
    """For publishing the drawn steps and showing the validation set, seconds."""
    attest_commit: Seconds
    """For replaying, scoring and sealing what was found, seconds."""
    attest_reveal: Seconds
    """For showing what was sealed, seconds."""
    settle: Seconds
    """For signing and posting the settlement, seconds."""
    window: Seconds
    """For disputes about the settlement, seconds."""
    slash: Seconds = 86_400
    """How long after a round its stakes stay slashable at least, seconds."""
    claim: Positive = 2_592_000
    """How long after a round rewards can be claimed, seconds; longer than `slash` and the court's `answerSeconds`,
    by a day but on test chains."""
    activation: Annotated[int, Field(ge=0, le=MAX_PHASE_SECONDS)] = 0
    """How long a verifier's stake lies before it weighs in a quorum, seconds."""
