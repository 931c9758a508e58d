"""Section of the page on splits: what a task's test rows have in common with the rows that it trains on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.methods.cells import task_data
from benchmarks.methods.quality import paragraph
from benchmarks.methods.results import Measured, kind_of
from benchmarks.shared.places import ASSETS
from benchmarks.shared.reading import reader
from benchmarks.shared.splits import NEAR, Seen
from benchmarks.shared.tuning_tasks import HALVES, OF_SPEECHES, SPEECHES, Data, is_here

__all__ = ["Split", "against_training", "compared", "of_known_speeches", "splits"]


class Split(NamedTuple):
    """Rows of a task, test rows whose content was trained on, and the largest likeness of one with a trained row."""

    digest: str
    trained: int
    tested: int
    common: int
    likeness: float | None
    """Share of runs of three words in common (`benchmarks/shared/splits.py`); of images None: they are equal or not."""
    alike: int
    """Test rows of which the model reads the very tokens of a trained row, whatever follows; of images 0."""


def compared(task: str) -> Split:
    """Compares the contents, whatever their labels."""
    data = task_data(task)
    rows = [[json.loads(row) for row in part] for part in (data.train, data.test)]
    name = "pixels" if kind_of(task) == "digits" else "text"
    train, test = ([str(row[name]) for row in part] for part in rows)
    common = sum(content in set(train) for content in test)
    likeness = None if name == "pixels" else max(map(Seen(train).likeness, test))
    alike = 0 if name == "pixels" else _read_alike(data)
    return Split(data.split, len(train), len(test), common, likeness, alike)


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
        words.append(
            "A model reads the first tokens of a text only; test rows of which it reads what it reads of a trained one:"
            f" {sum(split.alike for split in found.values())}."
        )
    lines = [
        "## Splits",
        "",
        *paragraph(*words),
        "| task | trained on | tested on | in common | nearest | read alike | split |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, split in found.items():
        nearest = "-" if split.likeness is None else f"{split.likeness:.2f}"
        read = "-" if split.likeness is None else split.alike
        lines.append(
            f"| {task} | {split.trained} | {split.tested} | {split.common} | {nearest} | {read} | `{split.digest}` |"
        )
    return [*lines, "", *_shared_sources(found)]


def _read_alike(data: Data) -> int:
    reads = reader(data.source, data.model["max_tokens"])
    trained = {reads(row) for row in data.train}
    return sum(reads(row) in trained for row in data.test)


def of_known_speeches(data: Data) -> int:
    """Test passages of a speech of which another passage is trained on."""
    with (ASSETS / SPEECHES).open(encoding="utf-8") as lines:
        speeches = [json.loads(line)["text"] for line in lines]

    def speech(text: str) -> int:
        return next(number for number, whole in enumerate(speeches) if text in whole)

    trained = {speech(text) for text in _texts(data.train)}
    return sum(speech(text) in trained for text in _texts(data.test))


def against_training(data: Data) -> int:
    """Test rows of two halves whose second half is trained on with the other label."""
    trained = {(row["text"].partition(HALVES)[2], row["label"]) for row in map(json.loads, data.train)}
    return sum((row["text"].partition(HALVES)[2], 1 - row["label"]) in trained for row in map(json.loads, data.test))


def _shared_sources(found: Mapping[str, Split]) -> list[str]:
    speeches = {task: of_known_speeches(task_data(task)) for task in found if task in OF_SPEECHES}
    halves = {task: against_training(task_data(task)) for task in found if task.endswith(" halves")}
    lines = []
    if speeches:
        lines += paragraph(
            "Rows can share a source without sharing words. Passages of one speech are dealt to both sides: of the",
            f"test passages, of a speech that was trained on are {_counts(speeches, found)}. These tasks ask of other",
            "passages of known speeches, not of new speeches.",
        )
    if halves:
        lines += paragraph(
            "A second half can stand in two rows, where it belongs and where it does not. Test rows whose second half",
            f"was trained on with the other label: {_counts(halves, found)}. Who learns rows by heart is wrong there.",
        )
    return lines


def _counts(counts: Mapping[str, int], found: Mapping[str, Split]) -> str:
    return ", ".join(f"{count} of {found[task].tested} of {task}" for task, count in counts.items())


def _texts(rows: Sequence[bytes]) -> list[str]:
    return [json.loads(row)["text"] for row in rows]
