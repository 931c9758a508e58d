"""Losses of coalitions' aggregated adapters, evaluated here or by workers, recorded row by row.

Legend: N players, E coalitions, V validation rows, P values of an adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import NANOS
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.aggregation import Array, mixture_weights
from deltaproof.tuning.combining.evaluation import Evaluator, RowResults
from deltaproof.tuning.combining.mixing import aggregate_thetas
from deltaproof.tuning.numerics.workers import Workers
from deltaproof.tuning.training.workbench import Workbench
from incentives.semivalues import Game

__all__ = ["Bools", "CoalitionLosses", "RecordedGame", "nanos"]

Bools = NDArray[np.bool_]


def nanos(nats: float) -> int:
    """Whole nano-nats, halves to even: whoever rounds values otherwise gets other scores."""
    return round(nats * NANOS)


class CoalitionLosses:
    """Coalitions, bool [E, N], none of them empty, to what their aggregated adapters do on each row.

    Pickles as what it was made from; the process that receives it loads the model itself.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        rows: Sequence[bytes],
        thetas: Sequence[Vector],
        weights: Sequence[int] | None,
        tuned: Sequence[Mask] | None = None,
        device: str | None = None,
    ) -> None:
        """`tuned` as in `aggregate_thetas`: a coalition's value is the mean over its members who tuned it. `device` is
        what a process computes on that receives it, if not the same as here."""
        self._evaluator, self._rows, self._thetas, self._weights = evaluator, tuple(rows), list(thetas), weights
        self._tuned, self._device = tuned, device or evaluator.bench.device

    def __call__(self, coalitions: Bools) -> RowResults:
        evaluator, bench = self._evaluator, self._evaluator.bench
        if bench.spec.aggregation.rule == "mean" and evaluator.mixes_exactly and self._tuned is None:
            return evaluator.evaluate_means(self._thetas, mixture_weights(coalitions, self._weights))
        adapters = []
        for row in coalitions:
            chosen = np.flatnonzero(row).tolist()
            weights = None if self._weights is None else [self._weights[i] for i in chosen]
            tuned = None if self._tuned is None else [self._tuned[i] for i in chosen]
            adapters.append(aggregate_thetas(bench, [self._thetas[i] for i in chosen], weights, tuned)[0])
        return evaluator.evaluate_means(adapters, np.eye(len(adapters)))

    def __reduce__(self) -> tuple[Any, ...]:
        bench = self._evaluator.bench
        return _load, (bench.spec, self._device, bench.precision, self._rows, self._thetas, self._weights, self._tuned)


class RecordedGame:
    """v(S) = starting loss - loss of S in whole nano-nats, kept with the row losses as an estimator asks for them.

    A `Mapper` of `incentives.semivalues`: what it evaluates is `losses`, never the game that it is handed.
    `coalitions` bool [E, N], `values_nanos` [E] and `row_losses` [E, V] are in order of evaluation; `start` [1, V] is
    what the starting adapter does.
    """

    def __init__(self, losses: Workers[Bools, RowResults], start: RowResults) -> None:
        self._losses, self.start = losses, start
        self._coalitions: list[Bools] = []
        self._rows: list[Array] = []
        self.values_nanos: list[int] = []

    @property
    def coalitions(self) -> Bools:
        return np.concatenate(self._coalitions) if self._coalitions else np.zeros((0, 0), np.bool_)

    @property
    def row_losses(self) -> Array:
        return np.concatenate(self._rows)

    def map(self, game: Game, batches: list[Bools], /) -> Iterator[Array]:
        """v of the coalitions of each batch, in nats."""
        occupied = [batch[batch.any(axis=1)] for batch in batches]
        base = self.start.mean(0).loss
        for batch, (_, answer) in zip(batches, self._losses.map(occupied), strict=True):
            losses = np.repeat(self.start.losses, len(batch), axis=0)
            losses[batch.any(axis=1)] = answer.losses
            means = RowResults(losses, losses, self.start.counts)
            values = [nanos(base - means.mean(c).loss) for c in range(len(batch))]
            self._coalitions.append(batch)
            self._rows.append(losses)
            self.values_nanos += values
            yield np.array(values) / NANOS


def _load(spec: Any, device: Any, precision: Any, rows: Any, *members: Any) -> CoalitionLosses:
    return CoalitionLosses(Evaluator(Workbench.from_spec(spec, device, precision), rows), rows, *members)
