"""What the cells say of methods on one kind of model: means over tasks, differences paired by task and seed, costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from benchmarks.methods.results import ROWS, UNTOUCHED, Key, Measured, Place

__all__ = ["REFERENCE", "Quality", "joined", "listed", "number", "paragraph", "title"]

REFERENCE = "lora"
"""What others are compared with: the method that most people take."""


class Quality:
    """Of the methods on the tasks of one kind of model on which all that fit were measured."""

    def __init__(self, measured: Measured, kind: str) -> None:
        self.measured = measured
        self.kind = kind
        self.metric = "loss" if kind == "language" else "accuracy"
        self.places: list[Place] = measured.complete(kind)
        self.tasks = list(dict.fromkeys(place.task for place in self.places))

    def of(self, method: str, task: str) -> float | None:
        """Accuracy, of language loss in nats a token: mean over seeds, None if one of them lacks it."""
        found = self._of(method, [place for place in self.places if place.task == task])
        return None if not found or None in found else float(np.mean([v for v in found if v is not None]))

    def mean(self, method: str) -> float | None:
        """Over tasks; None if the method was not measured on each."""
        found = [self.of(method, task) for task in self.tasks]
        return None if not found or None in found else float(np.mean([v for v in found if v is not None]))

    def differences(self, method: str, other: str) -> list[list[float]]:
        """By task, for each seed with both: points of accuracy, or nats of loss, `method` minus `other`."""
        by_task = []
        for task in self.tasks:
            places = [place for place in self.places if place.task == task]
            pairs = zip(self._of(method, places), self._of(other, places), strict=True)
            by_task.append([self.scale * (a - b) for a, b in pairs if a is not None and b is not None])
        return by_task

    @property
    def scale(self) -> float:
        """Accuracy is told in points, loss in nats."""
        return 1.0 if self.kind == "language" else 100.0

    @cached_property
    def ranking(self) -> tuple[str, ...]:
        """Methods that were measured on every task."""
        return tuple(method for method in ROWS if self.mean(method) is not None)

    def better(self, task: str, methods: Sequence[str]) -> list[float]:
        """Quality of methods that were measured on a task, higher is better."""
        sign = -1.0 if self.kind == "language" else 1.0
        return [sign * value for value in (self.of(method, task) for method in methods) if value is not None]

    def by_seed(self, method: str, task: str) -> list[float]:
        """Points of accuracy, or nats of loss, one for each seed that was measured."""
        places = sorted(place for place in self.places if place.task == task)
        return [self.scale * value for value in self._of(method, places) if value is not None]

    @cached_property
    def seed_spread(self) -> float | None:
        """Standard deviation of one method on one task between seeds, pooled; None where each task has one seed."""
        variances = []
        for task in self.tasks:
            places = [place for place in self.places if place.task == task]
            for method in ROWS:
                values = [self.scale * v for v in self._of(method, places) if v is not None]
                if len(values) > 1:
                    variances.append(float(np.var(values, ddof=1)))
        return float(np.sqrt(np.mean(variances))) if variances else None

    def size(self, method: str) -> float | None:
        """Bytes of a round's delta as float32; of tasks with several numbers of labels the largest."""
        cells = [self.measured.quality(method, place) for place in self.places]
        return max((4.0 * cell["values"] for cell in cells if cell is not None), default=None)

    def memory(self, method: str) -> float | None:
        """MiB at the peak above a process that loads nothing."""
        bare = self.measured.memory.get(f"{self.kind} / bare", {}).get("peak_mib")
        peak = self.measured.memory.get(f"{self.kind} / {method}", {}).get("peak_mib")
        return None if bare is None or peak is None else float(peak - bare)

    def time(self, method: str) -> float | None:
        """CPU seconds of a recorded round over those of `lora` on the same task with the same seed: the median.

        A run takes both in one process, minutes apart, so what else the machine does then weighs on both.
        """
        ratios = []
        for cells in (self.measured.cells[task] for task in self.tasks):
            for key, cell in cells.items():
                other = cells.get(Key("ours", REFERENCE, key.seed), {})
                if key[:2] == ("ours", method) and "train_seconds" in cell and "train_seconds" in other:
                    ratios.append(cell["train_seconds"] / other["train_seconds"])
        return float(np.median(ratios)) if ratios else None

    def _of(self, method: str, places: Sequence[Place]) -> list[float | None]:
        cells = [self.measured.quality(method, place) for place in places]
        return [None if cell is None else float(cell[self.metric]) for cell in cells]


def joined(qualities: Sequence[Quality], method: str, other: str) -> list[list[float]]:
    """Differences by task over several kinds of models; tasks without a pair are left out."""
    return [found for quality in qualities for found in quality.differences(method, other) if found]


def title(method: str) -> str:
    """As a row names it."""
    return {"head": "head alone", UNTOUCHED: "untouched model"}.get(method, f"`{method}`")


def listed(methods: Sequence[str]) -> str:
    return ", ".join(map(title, methods)) or "none"


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def paragraph(*sentences: str) -> list[str]:
    """One line, and an empty one after it."""
    return [" ".join(sentences), ""]
