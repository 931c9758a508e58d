"""The held-out loss around a round's start, with its slopes along every delta, computed here or by workers."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import PATH_GROUPS
from deltaproof.tuning.combining.evaluation import Evaluator, RowResults
from deltaproof.tuning.combining.slopes import Slopes
from deltaproof.tuning.numerics.linalg import Array
from deltaproof.tuning.numerics.machine import HERE, Machine
from deltaproof.tuning.numerics.workers import Workers

__all__ = ["RoundLandscape"]


class RoundLandscape:
    """A `Landscape` of a task's model. A context manager; the result has the same bits for any number of workers."""

    def __init__(
        self,
        evaluator: Evaluator,
        rows: Sequence[bytes],
        begun: RowResults,
        start: Vector,
        thetas: Sequence[Vector],
        machine: Machine = HERE,
    ) -> None:
        """`begun` is what the start does on each of the canonical rows. `start` and the N thetas have shape (P,)."""
        groups = min(len(rows), PATH_GROUPS)
        self._evaluator, self._begun, self._adapters = evaluator, begun, [start, *thetas]
        self._slopes = Slopes(evaluator.bench, rows, start, thetas, groups)
        self.predictions = tuple(int(begun.counts[g::groups].sum()) for g in range(groups))
        inline = machine.backend == "inline"
        self._pool: Workers[Array, Array] | None = None if inline else Workers(machine, _same, self._slopes)

    def __enter__(self) -> RoundLandscape:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.close()

    def slopes(self, shares: Sequence[Array]) -> list[Array]:
        """See `incentives.path.Landscape`."""
        return [found for _, found in self._pool.map(shares)] if self._pool else [self._slopes(row) for row in shares]

    def gain(self, shares: Array) -> float:
        """See `incentives.path.Landscape`."""
        reached = self._evaluator.evaluate_means(self._adapters, np.asarray(shares)[None])
        return self._begun.mean(0).loss - reached.mean(0).loss


def _same(slopes: Slopes) -> Slopes:
    """What travels to a worker has loaded its model there."""
    return slopes
