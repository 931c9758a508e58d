"""Losses of coalitions' aggregated adapters, evaluated here or in other processes, recorded row by row.

Legend: N players, E coalitions, V validation rows.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incentives.semivalues import Game
from protocol.spec import TaskSpec
from protocol.state import Vector
from tuning.aggregation import AggregationRule, Array, aggregate, mixture_weights
from tuning.evaluation import Evaluator, RowResults
from tuning.low_rank import low_rank_pairs, tensors_of, vector_of
from tuning.precision import Precision
from tuning.workbench import Workbench

__all__ = ["NANOS", "CoalitionLosses", "RecordedGame", "aggregate_thetas", "nanos"]

NANOS = 1_000_000_000
"""Nano-nats in a nat."""
Bools = NDArray[np.bool_]


def nanos(nats: float) -> int:
    return round(nats * NANOS)


def aggregate_thetas(
    bench: Workbench, thetas: Sequence[Vector], weights: Sequence[int] | None
) -> tuple[Vector, float]:
    """The adapter that the task's rule makes of others, shape (P,), and its truncation error."""
    section = bench.spec.aggregation
    rule = AggregationRule(section.rule, section.trim_fraction, section.byzantine, section.rank)
    members = [tensors_of(bench.layout, theta) for theta in thetas]
    result = aggregate(members, low_rank_pairs(bench.model), rule, weights)
    return vector_of(bench.layout, result.tensors), result.truncation_error


class CoalitionLosses:
    """Coalitions, bool [E, N] without empty ones, to what their aggregated adapters do on each row.

    Pickles as what it was made from; another process loads the model itself.
    """

    def __init__(
        self, evaluator: Evaluator, rows: Sequence[bytes], thetas: Sequence[Vector], weights: Sequence[int] | None
    ) -> None:
        self._evaluator = evaluator
        self._rows, self._thetas, self._weights = tuple(rows), list(thetas), weights

    def __call__(self, coalitions: Bools) -> RowResults:
        evaluator, bench = self._evaluator, self._evaluator.bench
        if bench.spec.aggregation.rule == "mean" and evaluator.mixes_exactly:
            return evaluator.evaluate_means(self._thetas, mixture_weights(coalitions, self._weights))
        adapters = []
        for row in coalitions:
            chosen = np.flatnonzero(row)
            weights = None if self._weights is None else [self._weights[i] for i in chosen]
            adapters.append(aggregate_thetas(bench, [self._thetas[i] for i in chosen], weights)[0])
        return evaluator.evaluate_means(adapters, np.eye(len(adapters)))

    def __getstate__(self) -> dict[str, Any]:
        bench = self._evaluator.bench
        made_from = {"spec": bench.spec, "device": bench.device, "precision": bench.precision, "rows": self._rows}
        return {**made_from, "thetas": self._thetas, "weights": self._weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        spec: TaskSpec = state["spec"]
        precision: Precision = state["precision"]
        bench = Workbench.from_spec(spec, state["device"], precision)
        self.__init__(Evaluator(bench, state["rows"]), state["rows"], state["thetas"], state["weights"])  # type: ignore[misc]


@dataclass
class RecordedGame:
    """A game table that fills as an estimator asks: a `Mapper` of `incentives.semivalues`.

    `start` are the starting adapter's results, [1, V]; v(S) is its loss minus the coalition's, in whole nano-nats.
    """

    losses: CoalitionLosses
    start: RowResults
    workers: int
    coalitions: list[Bools] = field(default_factory=list)
    values_nanos: list[int] = field(default_factory=list)
    row_losses: list[Array] = field(default_factory=list)

    def __enter__(self) -> RecordedGame:
        self._pool: ProcessPoolExecutor | None = None
        if self.workers > 1:
            # `spawn`, because a forked process that has used torch threads can hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_install, initargs=(self.losses,))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, game: Game, batches: list[Bools], /) -> Iterator[Array]:
        """v of the coalitions of each batch, in nats; what `game` would say is what is recorded here."""
        evaluate: Callable[[Callable[[Bools], RowResults | None], Iterable[Bools]], Iterator[RowResults | None]]
        for batch, results in zip(batches, self._evaluate(batches), strict=True):
            base = self.start.mean(0).loss
            losses = np.repeat(self.start.losses, len(batch), axis=0)
            values = np.zeros(len(batch), np.int64)
            for place, number in enumerate(np.flatnonzero(batch.any(axis=1))):
                if results is None:
                    raise AssertionError("unreachable: a batch with members has results")
                losses[number] = results.losses[place]
                values[number] = nanos(base - results.mean(place).loss)
            self.coalitions.append(batch)
            self.row_losses.append(losses)
            self.values_nanos += values.tolist()
            yield values / NANOS
