"""The page of what `python -m benchmarks.methods` measured: docs/results/methods.md, .json and .svg."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.methods.beside_peft import beside_peft
from benchmarks.methods.caveats import caveats
from benchmarks.methods.cells import BATCH, METHODS, ON, STEPS, TEST
from benchmarks.methods.comparing import beside_reference, ranks
from benchmarks.methods.disjoint import splits
from benchmarks.methods.equal import equal
from benchmarks.methods.equal_time import EqualTime
from benchmarks.methods.plot import Point, plot
from benchmarks.methods.quality import Quality, paragraph
from benchmarks.methods.results import KINDS, ROWS, Measured, kind_of
from benchmarks.methods.settings import missing, rates, rounds
from benchmarks.methods.tables import by_task, costs, gains
from benchmarks.shared.digits import DIGEST
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.tuning_tasks import TASKS
from deltaproof.tuning.methods import METHODS as CLASSES

__all__ = ["page", "write_report"]


def write_report(folder: Path) -> None:
    """From the cells below `folder`."""
    measured = Measured.read(folder).of_these_rows()
    (PAGES / "methods.md").write_text("\n".join(page(measured, folder)) + "\n")
    (PAGES / "methods.svg").write_text(plot(*_points(measured)))
    everything = {
        "cells": {task: {key.text(): cell for key, cell in cells.items()} for task, cells in measured.cells.items()},
        "splits": measured.splits,
        "transformer": DIGEST,
        "memory": measured.memory,
        "equal_time": EqualTime(folder).published(measured),
    }
    (FIGURES / "methods.json").write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def page(measured: Measured, folder: Path) -> list[str]:
    """Lines of the page."""
    qualities = {kind: Quality(measured, kind) for kind in KINDS}
    return [
        *_opening(measured, qualities),
        *_reading(qualities),
        *caveats(qualities),
        *gains(measured, qualities),
        *["![quality against bytes](methods.svg)", ""],
        *costs(measured, qualities["text"]),
        *ranks(qualities),
        *beside_reference(qualities),
        *equal(qualities, EqualTime(folder)),
        *by_task(measured, qualities),
        *beside_peft(measured),
        *rounds(folder),
        *rates(),
        *splits(measured),
        *missing(measured, qualities),
    ]


def _points(measured: Measured) -> tuple[list[Point], str]:
    """Means on text; while there are none, the task on which the most methods were measured."""
    quality = Quality(measured, "text")
    if quality.tasks:
        found = {method: (quality.size(method), quality.mean(method)) for method in METHODS}
        name = "text"
    else:
        single = [task for task in measured.cells if kind_of(task) != "language"]
        cells = {task: {m: measured.first(m, task) for m in METHODS} for task in single}
        name = max(single, key=lambda task: sum(cell is not None for cell in cells[task].values()))
        found = {m: (4.0 * c["values"], c["accuracy"]) for m, c in cells[name].items() if c is not None}
    points = [
        Point(method, CLASSES[method].family, size, mean)
        for method, (size, mean) in found.items()
        if size is not None and mean is not None
    ]
    return points, name


def _opening(measured: Measured, qualities: Mapping[str, Quality]) -> list[str]:
    tasks = {kind: len(quality.tasks) for kind, quality in qualities.items()}
    rounds_ = ", ".join(f"{STEPS[kind]} steps of {BATCH[kind]} rows on {name}" for kind, name in KINDS.items())
    return [
        "# Delta-tuning methods: quality against bytes",
        "",
        *paragraph(
            f"Measured by `python -m benchmarks.methods`: {len(METHODS)} methods, a head alone and the untouched",
            f"model, on {sum(tasks.values())} tasks. One trainer, one round, float32, one thread; {rounds_}.",
            "So few steps are a round of a federation, not a finished model: the page says which method gets",
            "far in one round, not where it ends.",
        ),
        *paragraph(
            "Every method that fits a model was measured on the same tasks with the same seeds:",
            f"{_count(tasks['text'], 'task')} of text ({TEST['text']} held-out rows each, or what a small set has),",
            f"{tasks['digits']} of shifted digits",
            f"({TEST['digits']} rows), {tasks['language']} of language modelling ({TEST['language']} rows each, or",
            "what there is).",
            f"{sum(map(len, measured.cells.values())):,} cells on {sum(map(bool, measured.cells.values()))} of the",
            f"{len(TASKS)} tasks stand at the rates that are chosen now; what was measured at other rates is left out.",
            *_on_gpus(measured),
        ),
        *paragraph(
            "Accuracy is of what a task of one trainer would deliver: `adalora` with its budget of triplets,",
            "`diff_pruning` with its target. No test text shares half of its runs of three words with one that was",
            "trained on (`benchmarks/shared/splits.py`), and rates are searched on rows of which no image, mirrored or",
            "not, is reported on. The vision transformer is in the repository",
            f"(SHA-256 `{DIGEST[:16]}…`): so digits come out again.",
        ),
    ]


def _on_gpus(measured: Measured) -> list[str]:
    names = Counter(cell[ON] for cells in measured.cells.values() for cell in cells.values() if ON in cell)
    return [f"{count:,} of them were measured on {name}, without times." for name, count in sorted(names.items())]


def _reading(qualities: Mapping[str, Quality]) -> list[str]:
    """What so many tasks and seeds can say."""
    lines = ["## What these figures can say", ""]
    for kind, quality in qualities.items():
        if not quality.tasks:
            continue
        counts = [sum(place.task == task for place in quality.places) for task in quality.tasks]
        seeds = _count(min(counts), "seed") if min(counts) == max(counts) else f"{min(counts)} to {max(counts)} seeds"
        words = [f"**{KINDS[kind]}**: {_count(len(counts), 'task')}, {seeds} each."]
        unit = "nats" if kind == "language" else "points"
        if quality.seed_spread is None:
            words.append(
                "How far two seeds of one method differ is not known, so a single task does not say which of two"
                " methods is better on it; only what is averaged over tasks says something."
            )
        else:
            apart = 1.96 * math.sqrt(2) * quality.seed_spread
            several = sum(count > 1 for count in counts)
            words.append(
                f"Seeds of one method on one task differ by {quality.seed_spread:.2g} {unit} (standard deviation,"
                f" {_count(several, 'task')}): on one task with one seed each, two methods less than {apart:.2g} {unit}"
                " apart are not told apart."
            )
        if kind != "language":
            mean = float(np.mean([value for m in ROWS if (value := quality.mean(m)) is not None]))
            error = 100 * math.sqrt(mean * (1 - mean) / TEST[kind])
            words.append(
                f"{TEST[kind]} rows alone give an accuracy of {mean:.2f} a standard error of {error:.1f} points."
            )
        lines += paragraph(*words)
    return [
        *lines,
        *paragraph(
            "Intervals and critical differences are over tasks. What a seed adds to one task's figure is part of how",
            "far tasks differ, so they allow for it, with one seed too; more seeds make them narrower, and only",
            "several tell luck from a task's own liking for a method. They speak for tasks like these. Some tasks ask",
            "another question of the same texts or digits, so there are fewer sources than tasks, and intervals are",
            "narrower than those over as many independent tasks would be.",
        ),
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
