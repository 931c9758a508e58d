"""The held-out loss around a round's start, with its slopes along every delta."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.combining.evaluation import Evaluator, RowResults
from deltaproof.tuning.numerics.linalg import Array
from deltaproof.tuning.numerics.workers import Workers

__all__ = ["RoundLandscape"]


class RoundLandscape:
    """A `Landscape` of a task's model. The same bits for any number of workers."""

    def __init__(
        self,
        evaluator: Evaluator,
        begun: RowResults,
        start: Vector,
        thetas: Sequence[Vector],
        slopes: Workers[Array, Array],
    ) -> None:
        """`begun` is what the start does on each row. `start` and the N thetas have shape (P,). `slopes` answer shares
        with `deltaproof.tuning.combining.slopes.Slopes` of the same start and thetas."""
        self._evaluator, self._begun, self._adapters = evaluator, begun, [start, *thetas]
        self._slopes = slopes

    def slopes(self, shares: Sequence[Array]) -> list[Array]:
        """See `incentives.path.Landscape`."""
        return [found for _, found in self._slopes.map(shares)]

    def gain(self, shares: Array) -> float:
        """See `incentives.path.Landscape`."""
        reached = self._evaluator.evaluate_means(self._adapters, np.asarray(shares)[None])
        return self._begun.mean(0).loss - reached.mean(0).loss
