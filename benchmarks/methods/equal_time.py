"""Quality at equal time, measured: every method takes as many steps as it can in the time of a round of `lora`.

    python -m benchmarks.methods.equal_time [--kinds digits text language] [--tasks NAME ...] [--seeds 1]

Runs after `python -m benchmarks.methods`, whose CPU seconds say how many steps that is; the first run on a kind of
model fixes the numbers. Tasks are those on which all methods were measured. Where as many steps fit as `lora` takes,
the cell of equal steps is taken. Cells are kept below build/benchmarks/methods/equal-time/ and shown by
`python -m benchmarks.methods --report`. A head alone has no recorded round, so it has no place here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.methods.cells import METHODS, STEPS, delivered, spec_of, task_data, trained
from benchmarks.methods.quality import Quality
from benchmarks.methods.rates import rate_of
from benchmarks.methods.results import ALLOTTED, EQUAL_TIME, KINDS, Measured, Place, kind_of
from benchmarks.shared.places import BUILD
from benchmarks.shared.tuning_tasks import TASKS, Cells, Data
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["EqualTime"]


class EqualTime:
    """Steps of each method by kind of model, and the cells that were measured with so many."""

    def __init__(self, folder: Path) -> None:
        """From below the `folder` that holds the cells of equal steps."""
        self.folder = folder / EQUAL_TIME
        path = self.folder / ALLOTTED
        self.steps: dict[str, dict[str, int]] = json.loads(path.read_text()) if path.is_file() else {}

    def allot(self, quality: Quality) -> dict[str, int]:
        """Steps of each method that was timed and measured on every task, kept from the first run on."""
        if quality.kind not in self.steps:
            times = {method: quality.time(method) for method in METHODS if method in quality.ranking}
            usual = STEPS[quality.kind]
            self.steps[quality.kind] = {m: max(1, round(usual / time)) for m, time in times.items() if time}
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ALLOTTED).write_text(json.dumps(self.steps, indent=1, sort_keys=True) + "\n")
        return self.steps[quality.kind]

    def cells(self, task: str, split: str) -> Cells:
        """Those of a task that stand: of the rows that `split` names, and of the rates and steps that count now."""
        cells = Cells(self.folder / f"{task.replace(' ', '-')}.json")
        cells.values = {key: cell for key, cell in cells.values.items() if self._stands(task, split, key, cell)}
        return cells

    def _stands(self, task: str, split: str, key: str, cell: Mapping[str, Any]) -> bool:
        method, kind = key.split(" / ", maxsplit=1)[0], kind_of(task)
        now = {"split": split, "rate": rate_of(kind, method), "steps": self.steps.get(kind, {}).get(method)}
        return {name: cell[name] for name in now} == now

    def measure(self, place: Place) -> None:
        """What equal steps do not hold of a task with a seed."""
        data, kind = task_data(place.task), kind_of(place.task)
        cells = self.cells(place.task, data.split)
        for method, steps in self.steps[kind].items():
            if steps != STEPS[kind]:
                cells.measure(f"{method} / {place.seed}", lambda m=method, n=steps: _cell(data, kind, m, n, place.seed))

    def qualities(self, quality: Quality) -> dict[Place, dict[str, tuple[float, float]]]:
        """Accuracy or loss of each method at equal steps and at equal time, by task and seed, where all have both."""
        found: dict[Place, dict[str, tuple[float, float]]] = {}
        steps = self.steps.get(quality.kind, {})
        splits = quality.measured.splits
        stored = {task: self.cells(task, splits[task]).values for task in quality.tasks}
        for place in quality.places:
            values = {}
            for method, count in steps.items():
                usual, timed = (
                    quality.measured.quality(method, place),
                    stored[place.task].get(f"{method} / {place.seed}"),
                )
                timed = usual if count == STEPS[quality.kind] else timed
                if usual is not None and timed is not None:
                    values[method] = (float(usual[quality.metric]), float(timed[quality.metric]))
            if steps and len(values) == len(steps):
                found[place] = values
        return found

    def published(self, measured: Measured) -> dict[str, Any]:
        """Steps and all cells that stand, as the page's figures hold them."""
        cells = {task: self.cells(task, split).values for task, split in measured.splits.items()}
        return {"steps": self.steps, "cells": {task: found for task, found in cells.items() if found}}


def _cell(data: Data, kind: str, method: str, steps: int, seed: int) -> dict[str, Any]:
    rate = rate_of(kind, method)
    spec = spec_of(data, method, rate, seed)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"steps": steps})})
    bench = Workbench.from_spec(spec)
    return {**delivered(bench, data, trained(bench, data, seed)), "rate": rate, "steps": steps, "split": data.split}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["digits"], choices=list(KINDS))
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS), help="only these, of the kinds")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    measured = Measured.read(BUILD / "methods")
    timed = EqualTime(BUILD / "methods")
    for kind in options.kinds:
        quality = Quality(measured, kind)
        timed.allot(quality)
        for place in sorted(quality.places, key=lambda place: place.seed):
            if place.seed < options.seeds and place.task in options.tasks:
                timed.measure(place)


if __name__ == "__main__":
    main()
