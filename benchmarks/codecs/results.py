"""Cells that `python -m benchmarks.codecs` measured, read back and compared like with like.

Differences are in points: 100 times the difference of accuracies on the same held-out rows, with the same seed, after
the same round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.codecs.arms import ARMS, REFERENCE
from benchmarks.codecs.cells import ROUNDS
from benchmarks.codecs.rates import FIRST_COMPARED
from benchmarks.methods.results import kind_of
from benchmarks.shared.ranks import Paired, paired
from benchmarks.shared.tuning_tasks import OF, TASKS

__all__ = ["COMPARED_ROUNDS", "Key", "Lost", "Measured", "standing", "text_tasks"]

COMPARED_ROUNDS = range(FIRST_COMPARED, ROUNDS + 1)

FALL = 0.1
"""Of accuracy, from one round to the next."""

Cell = Mapping[str, Any]


class Key(NamedTuple):
    """Which measurement. `split` names the rows: on other rows a task is another."""

    task: str
    arm: str
    seed: int
    rate: float
    split: str

    def text(self) -> str:
        return f"{self.task} / {self.arm} / {self.seed} / {self.rate:g} / {self.split}"

    @classmethod
    def of(cls, text: str) -> Key:
        task, arm, seed, rate, split = text.split(" / ")
        return cls(task, arm, int(seed), float(rate), split)


class Lost(NamedTuple):
    """Mean points of an arm against the reference on a task after a round, and the seeds that it is the mean of."""

    task: str
    round: int
    points: float
    seeds: int


@dataclass(frozen=True)
class Measured:
    """Cells of the chosen rates by arm, task and seed, arms in the order in which they are shown."""

    cells: Mapping[str, Mapping[str, Mapping[int, Cell]]]

    @classmethod
    def read(cls, values: Mapping[str, Cell], rates: Mapping[str, float]) -> Measured:
        """Cells by key, those of other rates left out."""
        cells: dict[str, dict[str, dict[int, Cell]]] = {name: {} for name in rates}
        for text, cell in values.items():
            key = Key.of(text)
            if rates.get(key.arm) == key.rate:
                cells[key.arm].setdefault(key.task, {})[key.seed] = cell
        return cls(cells)

    @property
    def others(self) -> list[str]:
        """Arms that were measured, without the reference."""
        return [name for name, tasks in self.cells.items() if name != REFERENCE and tasks]

    def bytes(self, name: str) -> float:
        """Of everything that a trainer publishes in a round besides openings, mean over rounds, tasks and seeds."""
        cells = [cell for seeds in self.cells[name].values() for cell in seeds.values()]
        return float(np.mean([r["bytes"] for cell in cells for r in cell["rounds"]]))

    def accuracy(self, name: str, task: str, round_: int) -> float | None:
        """Mean over seeds; None where nothing was measured."""
        seeds = self.cells[name].get(task, {})
        return float(np.mean([_accuracy(cell, round_) for cell in seeds.values()])) if seeds else None

    def points(self, name: str, task: str, round_: int) -> list[float]:
        """Against the reference, one a seed that both were measured with."""
        mine, theirs = self.cells[name].get(task, {}), self.cells[REFERENCE].get(task, {})
        both = sorted(mine.keys() & theirs.keys())
        return [100 * (_accuracy(mine[seed], round_) - _accuracy(theirs[seed], round_)) for seed in both]

    def overall(self, name: str, round_: int, least: float = 0.0) -> Paired | None:
        """Mean points over tasks with Student's interval, of tasks on which the reference has an accuracy of `least`
        after the round; None before any task is measured."""
        learnt = [task for task in self.cells[name] if (self.accuracy(REFERENCE, task, round_) or 0.0) >= least]
        found = [self.points(name, task, round_) for task in learnt]
        return paired(found) if any(found) else None

    def lost(self, name: str) -> list[Lost]:
        """Every task after every compared round."""
        found = [(task, at, self.points(name, task, at)) for task in self.cells[name] for at in COMPARED_ROUNDS]
        return [Lost(task, at, float(np.mean(points)), len(points)) for task, at, points in found if points]

    def chance(self) -> list[float]:
        """Points of the reference's second seed against its first, by task and compared round: chance alone."""
        found = []
        for seeds in self.cells[REFERENCE].values():
            pairs = list(zip(sorted(seeds)[1:], sorted(seeds)[:-1], strict=True))[:1]
            found += [
                100 * (_accuracy(seeds[b], at) - _accuracy(seeds[a], at)) for b, a in pairs for at in COMPARED_ROUNDS
            ]
        return found

    def falls(self, name: str) -> list[str]:
        """Where an arm lost over ten points from one round to the next, so that its rate was too high there."""
        return [
            f"{task} at {at} (seed {seed}, {_accuracy(cell, at):.3f})"
            for task, seeds in self.cells[name].items()
            for seed, cell in seeds.items()
            for at in COMPARED_ROUNDS
            if _accuracy(cell, at) < _accuracy(cell, at - 1) - FALL
        ]


def standing(values: Mapping[str, Cell], splits: Mapping[str, str]) -> dict[str, Cell]:
    """Cells by key, without those of other rows than `splits` names by task, or of an arm that was another then.

    Of a task that `splits` does not name, whose data was not laid out, all are believed.
    """
    kept = {}
    for text, cell in values.items():
        key = Key.of(text)
        arm = ARMS.get(key.arm)
        if splits.get(key.task, key.split) == key.split and arm is not None and cell.get(OF) == arm.digest:
            kept[text] = cell
    return kept


def text_tasks() -> list[str]:
    """The text tasks that are reported on, in the order in which they are measured."""
    return [task for task in TASKS if kind_of(task) == "text"]


def _accuracy(cell: Cell, round_: int) -> float:
    """After a round; of training that diverged no better than a guess."""
    rounds = cell["rounds"]
    return float(rounds[round_ - 1]["accuracy"]) if round_ <= len(rounds) else 0.5
