"""What each delta of a round weighs in the step that all of them make, where pay follows shares of that step.

The step is D = sum_i u_i (theta_i - start) in product space. The share u_i is the trainer's part of the rows, less what
the norm cap takes: an update that is longer than the median row's is shortened to it. A delta from few rows is longer
than one from many, and so would be worth more per row by its length alone (docs/decisions/0015-aumann-shapley.md).

Shares are whole units, so that verifiers, auditors and the next adapter count with the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import STEP_UNITS
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.combining.aggregation import module_grams
from deltaproof.tuning.combining.mixing import aggregate_thetas, members_of
from deltaproof.tuning.numerics.linalg import tree_sum
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["capped_units", "rows_within_reach", "stepped", "update_norms"]


def rows_within_reach(spec: TaskSpec, rows: int) -> int:
    """How many of a trainer's rows count: no more than its round's steps can read, so claiming more gains nothing."""
    return min(rows, spec.training.steps * spec.training.batch_size)


def update_norms(bench: Workbench, start: Vector, thetas: Sequence[Vector]) -> list[float]:
    """Frobenius norm of each update of `start` as the model's weights see it; the same bits on every machine."""
    begun, *members = members_of(bench, [start, *thetas])
    squares = [tree_sum(module_grams([member], bench.pairs, begun), 0)[0, 0] for member in members]
    return [math.sqrt(max(float(square), 0.0)) for square in squares]


def capped_units(norms: Sequence[float], rows: Sequence[int]) -> tuple[int, ...]:
    """Each member's share of the step in units of 1 / STEP_UNITS; what is missing to all of them stays at the start.

    The cap is the smallest norm that half of the rows of those who moved at all do not exceed. Without rows nobody has
    a share.
    """
    everybody, moved = (
        max(1, sum(rows)),
        sorted((norm, count) for norm, count in zip(norms, rows, strict=True) if norm > 0.0),
    )
    half, seen, cap = sum(count for _, count in moved), 0, 0.0
    for norm, count in moved:
        seen, cap = seen + count, norm
        if 2 * seen >= half:
            break
    shortened = (min(1.0, cap / norm) if norm > 0.0 else 1.0 for norm in norms)
    return tuple(int(STEP_UNITS * factor) * count // everybody for factor, count in zip(shortened, rows, strict=True))


def stepped(bench: Workbench, start: Vector, thetas: Sequence[Vector], rows: Sequence[int]) -> tuple[Vector, float]:
    """The adapter, shape (P,), that the capped step leads to, and its truncation error; `rows` already within reach."""
    units = capped_units(update_norms(bench, start, thetas), rows)
    used = [(start, STEP_UNITS - sum(units)), *zip(thetas, units, strict=True)]
    members, weights = zip(*(pair for pair in used if pair[1]), strict=True)
    return aggregate_thetas(bench, members, weights)
