"""Scores under `aumann_shapley` without their standard errors, which take most of the product's time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.slopes import Slopes
from deltaproof.tuning.numerics.machine import HERE
from deltaproof.tuning.numerics.workers import Workers
from deltaproof.tuning.training.workbench import Workbench
from incentives._landscape import RoundLandscape
from incentives.path import value_along_path
from incentives.steps import rows_within_reach, update_norms
from incentives.unions import Contribution

__all__ = ["scores_along_step"]


def scores_along_step(
    bench: Workbench, held_out: Sequence[bytes], start: Vector, contributions: Sequence[Contribution]
) -> list[int]:
    """As `value_round` finds them, nano-nats."""
    thetas = [c.theta for c in contributions]
    evaluator = Evaluator(bench, held_out)
    begun = evaluator.evaluate_means([start], np.ones((1, 1)))
    with Workers.holding(HERE, Slopes(bench, held_out, start, thetas, groups=1)) as workers:
        valued = value_along_path(
            RoundLandscape(evaluator, begun, start, thetas, workers),
            update_norms(bench, start, thetas),
            [rows_within_reach(bench.spec, c.rows) for c in contributions],
            [int(begun.counts.sum())],
            stay=False,
        )
    return list(valued.values_nanos)
