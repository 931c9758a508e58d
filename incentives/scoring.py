"""From accepted deltas to scores and the next starting adapter, in the form of an attestation.

A pure function of the starting adapter, the accepted deltas, the validation rows and the challenge seed, used by
verifiers for their own attestation and by auditors for anybody's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.outcome.attestation import (
    CoalitionValue,
    EmulatorScore,
    GameRecord,
    PathRecord,
    PathShare,
    RowRecord,
    TrainerFinding,
)
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.rules import MAX_EARLIER, ROWLESS_DISCOUNT_BPS, SAME_ADAPTER
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.training.workbench import Workbench
from incentives.path import PathPass
from incentives.row_evidence import RowClaim, count_rows
from incentives.unions import Contribution, aggregate_contributions, row_claims
from incentives.valuation import RoundValuation, value_round

__all__ = [
    "RoundScores",
    "counted_rows",
    "discount_bps",
    "emulator_scores",
    "path_pass",
    "row_records",
    "rowless_in",
    "same_adapter",
    "score_round",
]


@dataclass(frozen=True, slots=True)
class RoundScores:
    """What goes into an attestation besides the verdicts. `game` is None if nothing was scored."""

    findings: Mapping[Address, TrainerFinding]
    game: GameRecord | None
    improvement_nanos: int
    next_start: Vector = field(repr=False)

    def scored(self, finding: TrainerFinding) -> TrainerFinding:
        """A verdict's finding with the trainer's score, if it has one."""
        mine = self.findings.get(finding.trainer)
        if mine is None:
            return finding
        return finding.model_copy(
            update={
                "score_nanos": mine.score_nanos,
                "stderr_nanos": mine.stderr_nanos,
                "discount_bps": mine.discount_bps,
            }
        )


def score_round(
    bench: Workbench,
    start: Vector,
    accepted: Mapping[Address, Contribution],
    validation_rows: Sequence[bytes] | None,
    seed: Digest32,
    emulators: Mapping[str, Workbench] | None = None,
    *,
    machine: Machine = HERE,
    told: Callable[[int], None] | None = None,
) -> RoundScores:
    """Score the accepted deltas, in leaf order; without validation rows (an unscored round) only aggregate them.

    With `emulators`, by name, the next adapter is evaluated on them as well. `told` as in `value_round`.
    """
    if not accepted:
        return RoundScores({}, None, 0, start)
    accepted, rows = counted_rows(bench.spec, accepted)
    if validation_rows is None:
        return RoundScores({}, None, 0, aggregate_contributions(bench, start, list(accepted.values()))[0])
    valuation = value_round(bench, start, list(accepted.values()), validation_rows, seed, machine=machine, told=told)
    rowless = rowless_in(rows)
    findings = {
        trainer: TrainerFinding(
            trainer=trainer,
            verdict=Verdict.ACCEPTED,
            score_nanos=value.score_nanos,
            stderr_nanos=value.stderr_nanos,
            discount_bps=discount_bps(bench.spec, rowless, trainer),
        )
        for trainer, value in zip(accepted, valuation.values, strict=True)
    }
    game = _game_record(list(accepted), valuation).model_copy(update={"rows": rows})
    if emulators:
        scored = emulator_scores(emulators, valuation.next_start, validation_rows)
        game = game.model_copy(update={"emulators": scored})
    return RoundScores(findings, game, valuation.improvement_nanos, valuation.next_start)


def counted_rows(
    spec: TaskSpec, accepted: Mapping[Address, Contribution]
) -> tuple[dict[Address, Contribution], tuple[RowRecord, ...]]:
    """The accepted contributions, in leaf order, with the rows that their weights count, and why; no record where
    enrolled rows count."""
    if spec.scoring.rows != "distinct":
        return dict(accepted), ()
    records = row_records(list(accepted), row_claims(spec, list(accepted.values())))
    counted = {record.trainer: replace(accepted[record.trainer], rows=record.counted) for record in records}
    return counted, records


def rowless_in(records: Sequence[RowRecord]) -> frozenset[Address]:
    """Who brings no row that counts, of a round's records; nobody where enrolled rows count."""
    return frozenset(record.trainer for record in records if record.counted == 0)


def discount_bps(spec: TaskSpec, rowless: Collection[Address], trainer: Address) -> int:
    """What is taken off a trainer's pay, basis points: what the spec says, or all of it for whoever brings no row that
    counts, so that no floor pays for its name. `rowless` are those of the round (`rowless_in`)."""
    return max(spec.discount_bps(trainer), ROWLESS_DISCOUNT_BPS if trainer in rowless else 0)


def row_records(trainers: Sequence[Address], claims: Sequence[RowClaim]) -> tuple[RowRecord, ...]:
    """What is recorded of the trainers' rows, of which `claims` are in the same order."""
    return tuple(
        RowRecord(
            trainer=trainer, rows=claim.rows, counted=count.counted, opened=count.opened, repeated=count.repeated,
            earlier=tuple(trainers[place] for place in count.earlier[:MAX_EARLIER]),
        )
        for trainer, claim, count in zip(trainers, claims, count_rows(claims), strict=True)
    )  # fmt: skip


def emulator_scores(
    emulators: Mapping[str, Workbench], adapter: Vector, validation_rows: Sequence[bytes]
) -> tuple[EmulatorScore, ...]:
    """What an adapter, shape (P,), scores where trainers tune it; on the full model it may be worth more or less."""
    found = {name: Evaluator(bench, validation_rows).evaluate(adapter) for name, bench in emulators.items()}
    return tuple(EmulatorScore(emulator=name, loss=e.loss, accuracy=e.accuracy) for name, e in found.items())


def same_adapter(first: Vector, second: Vector) -> bool:
    """Whether two vectors are the same aggregate up to rounding."""
    difference = np.linalg.norm(first.astype(np.float64) - second)
    return bool(difference <= SAME_ADAPTER * np.linalg.norm(first.astype(np.float64)))


def path_pass(record: PathRecord) -> PathPass:
    """A recorded pass as values are computed from it."""
    return PathPass(
        tuple(share.player for share in record.shares),
        tuple(share.units for share in record.shares),
        tuple(share.slopes_nanos for share in record.shares),
        record.gain_nanos,
    )


def _path_record(found: PathPass) -> PathRecord:
    parts = zip(found.members, found.units, found.slopes_nanos, strict=True)
    shares = tuple(PathShare(player=i, units=units, slopes_nanos=slopes) for i, units, slopes in parts)
    return PathRecord(gain_nanos=found.gain_nanos, shares=shares)


def _game_record(trainers: Sequence[Address], valuation: RoundValuation) -> GameRecord:
    table = zip(valuation.coalitions, valuation.values_nanos, strict=True)
    return GameRecord(
        players=tuple(trainers[group[0]] for group in valuation.players),
        start_loss=valuation.start.loss,
        start_accuracy=valuation.start.accuracy,
        end_loss=valuation.end.loss,
        end_accuracy=valuation.end.accuracy,
        method=valuation.method,
        coalitions=tuple(
            CoalitionValue(members=tuple(int(i) for i in np.flatnonzero(members)), value_nanos=value)
            for members, value in table
        ),
        passes=tuple(_path_record(found) for found in valuation.passes),
        truncation=min(1.0, valuation.truncation_error),
    )
