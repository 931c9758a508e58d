"""Section of the page on splits: what a task's test rows have in common with the rows that it trains on."""

from __future__ import annotations

import json
from typing import NamedTuple

from benchmarks.methods.cells import task_data
from benchmarks.methods.quality import paragraph
from benchmarks.methods.results import Measured, kind_of
from benchmarks.shared.splits import NEAR, Seen
from benchmarks.shared.tuning_tasks import is_here

__all__ = ["Split", "compared", "splits"]


class Split(NamedTuple):
    """Rows of a task, test rows whose content was trained on, and the largest likeness of one with a trained row."""

    digest: str
    trained: int
    tested: int
    common: int
    likeness: float | None
    """Share of runs of three words in common (`benchmarks/shared/splits.py`); of images None: they are equal or not."""


def compared(task: str) -> Split:
    """Compares the contents, whatever their labels."""
    data = task_data(task)
    rows = [[json.loads(row) for row in part] for part in (data.train, data.test)]
    name = "pixels" if kind_of(task) == "digits" else "text"
    train, test = ([str(row[name]) for row in part] for part in rows)
    common = sum(content in set(train) for content in test)
    likeness = None if name == "pixels" else max(map(Seen(train).likeness, test))
    return Split(data.split, len(train), len(test), common, likeness)


def splits(measured: Measured) -> list[str]:
    """A table of all measured tasks whose data is here, compared while the page is written."""
    found = {task: compared(task) for task, cells in measured.cells.items() if cells and is_here(task)}
    if not found:
        return []
    likenesses = [split.likeness for split in found.values() if split.likeness is not None]
    words = [
        f"Compared while this page was written: of {sum(split.tested for split in found.values()):,} test rows of",
        f"{len(found)} tasks {sum(split.common for split in found.values())} have a content that the same task trains",
        "on.",
    ]
    if likenesses:
        words.append(
            f"No test text shares more than {max(likenesses):.2f} of its runs of three words with one that was trained"
            f" on; {NEAR:g} is refused."
        )
    lines = [
        "## Splits",
        "",
        *paragraph(*words),
        "| task | trained on | tested on | in common | nearest | split |",
        "|---|---|---|---|---|---|",
    ]
    for task, split in found.items():
        nearest = "-" if split.likeness is None else f"{split.likeness:.2f}"
        lines.append(f"| {task} | {split.trained} | {split.tested} | {split.common} | {nearest} | `{split.digest}` |")
    return [*lines, ""]
