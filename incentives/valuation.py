"""What each delta of a round is worth: coalition values on held-out rows, semivalues over them, the next adapter.

v(S) is the improvement of the mean held-out loss over the starting adapter when the deltas of S are aggregated; v of
nobody is 0. Values are rounded to nano-nats before anything else sees them, so that scores follow from the recorded table
alone and an auditor can recompute them without a model.

A near-duplicate of an earlier delta (see `similarity`) is no player: it scores 0, its discount is complete, it takes no
part in the aggregate. So a copied trainer's coalitions, and with them its pay, are what they would be without the copy.

Standard errors have two parts: of the estimator, for the coalitions it did not see, and of the validation set, for the
rows it does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from incentives._coalitions import CoalitionValues, evaluate_game
from incentives.semivalues import Estimate, estimate
from incentives.similarity import COPY_DISCOUNT_BPS, copies, similarities
from protocol.spec import ScoringSection, TaskSpec
from protocol.state import Vector
from tuning.aggregation import AggregationRule, aggregate
from tuning.evaluation import Evaluation, Evaluator
from tuning.low_rank import low_rank_pairs, tensors_of, vector_of
from tuning.workbench import Workbench

__all__ = ["NANOS", "Contribution", "RoundValuation", "TrainerValue", "scores_from_table", "value_round"]

NANOS = 1_000_000_000
"""Nano-nats in a nat."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """One accepted trainer's round: the adapter it leads to, shape (P,), its shard's size, its commitment's rank."""

    theta: Vector
    rows: int
    order: int


@dataclass(frozen=True, slots=True)
class TrainerValue:
    """What goes into the trainer's settlement leaf. `copy_of` is the index of the contribution that it repeats."""

    score_nanos: int
    stderr_nanos: int
    discount_bps: int
    copy_of: int | None


@dataclass(frozen=True)
class RoundValuation:
    """The valuation of a round's accepted contributions, in their order.

    `players` are the contributions that are no copies; `coalitions` bool [E, players] and `values_nanos` [E] the whole
    game table in order of evaluation. `included` are the contributions that make `next_start`, which `end` evaluates.
    """

    values: tuple[TrainerValue, ...]
    players: tuple[int, ...]
    coalitions: NDArray[np.bool_]
    values_nanos: tuple[int, ...]
    method: str
    start: Evaluation
    end: Evaluation
    next_start: Vector
    included: tuple[int, ...]
    truncation_error: float
    similarity: NDArray[np.float64]

    @cached_property
    def improvement_nanos(self) -> int:
        """Of the adapter that the next round starts from."""
        return _nanos(self.start.loss - self.end.loss)


def value_round(
    bench: Workbench,
    start: Vector,
    contributions: Sequence[Contribution],
    validation_rows: Sequence[bytes],
    seed: bytes,
    *,
    workers: int = 1,
) -> RoundValuation:
    """Value a round's accepted contributions by the task's rules.

    Args:
        bench: the task's model; float32 is enough (see `tuning.evaluation`).
        start: the round's starting adapter, shape (P,).
        contributions: the accepted ones in leaf order; may be empty.
        validation_rows: canonical rows of the round's revealed validation set.
        seed: from the round's challenge seed; decides which coalitions are drawn when not all fit the budget.
        workers: processes that evaluate coalitions. The result has the same bits for any number.

    Raises ValueError for weights or ranks that make no sense, ScoringError for a scoring rule that does not, RowError or
    EncodingError for rows or adapters that do not fit the task.
    """
    spec = bench.spec
    evaluator = Evaluator(bench, validation_rows)
    start_result = evaluator.evaluate(start)
    thetas = [contribution.theta for contribution in contributions]
    members = [tensors_of(bench.layout, theta) for theta in thetas]
    pairs = low_rank_pairs(bench.model)
    similarity = similarities(members, tensors_of(bench.layout, start), pairs) if members else np.zeros((0, 0))
    originals = copies(similarity, [c.order for c in contributions], spec.scoring.similarity_threshold)
    players = tuple(i for i, original in enumerate(originals) if original is None)
    weights = [contributions[i].rows for i in players] if spec.aggregation.weights == "rows" else None

    game = CoalitionValues(evaluator, start, [thetas[i] for i in players], _rule(spec), weights)
    if players:
        result = evaluate_game(game, seed, spec.scoring, workers)
    values = [TrainerValue(0, 0, COPY_DISCOUNT_BPS, original) for original in originals]
    if players:
        ...
