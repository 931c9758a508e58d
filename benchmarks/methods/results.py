"""Cells that `python -m benchmarks.methods` measured, read back and compared like with like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.methods.cells import METHODS, task_data
from benchmarks.methods.rates import rate_of
from benchmarks.shared.places import FIGURES
from benchmarks.shared.tuning_tasks import TASKS, is_here

__all__ = [
    "KINDS",
    "ROWS",
    "SAME_START",
    "SPLIT",
    "UNTOUCHED",
    "Key",
    "Measured",
    "Place",
    "adopt",
    "kind_of",
    "standing",
    "stands",
]

MINUTES = ("full",)
"""Takes minutes on MiniLM: a task on which this alone was not measured counts all the same."""
KINDS = {"text": "MiniLM", "digits": "vision transformer", "language": "SmolLM2"}
ROWS = (*METHODS, "head")
SAME_START = "same start"
"""Kind of a cell of the loop without us that begins where our round does."""
UNTOUCHED = "untouched"
"""Row of the model before any step."""
SPLIT = "split"
"""Key of the digest of the rows that a task's cells were measured on."""
CHANGED = ("adalora", "diff_pruning")
"""Rounds of these stand only if they say what their form lost: earlier ones are of what was trained, not delivered."""
EQUAL_TIME = "equal-time"
"""Folder of the cells of benchmarks/methods/equal_time.py, and in it the file of the steps that it allots."""
ALLOTTED = "steps.json"
FIGURES_FILE = FIGURES / "methods.json"


class Key(NamedTuple):
    """Which measurement of a task. `kind`: ours, plain or same start for the loop without us, or untouched."""

    kind: str
    method: str
    seed: int

    def text(self) -> str:
        return f"{self.kind} / {self.method} / {self.seed}"

    @classmethod
    def of(cls, text: str) -> Key:
        kind, method, seed = text.split(" / ")
        return cls(kind, method, int(seed))


class Place(NamedTuple):
    """A task with a seed."""

    task: str
    seed: int


@dataclass(frozen=True)
class Measured:
    """Cells that stand, by task, and memory by model and method."""

    cells: Mapping[str, Mapping[Key, dict[str, Any]]]
    splits: Mapping[str, str]
    memory: Mapping[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Measured:
        cells, splits = {}, {}
        for task in TASKS:
            path = _path(folder, task)
            if path.is_file():
                found = json.loads(path.read_text())
                splits[task] = found.pop(SPLIT)["digest"]
                keyed = {Key.of(key): cell for key, cell in found.items()}
                cells[task] = {key: cell for key, cell in keyed.items() if stands(task, key, cell)}
        memory = folder / "memory.json"
        return cls(cells, splits, json.loads(memory.read_text()) if memory.is_file() else {})

    def of_these_rows(self) -> Measured:
        """Without cells of a task whose rows are others now; a task whose data was not laid out is believed."""
        kept = {task: not is_here(task) or task_data(task).split == split for task, split in self.splits.items()}
        cells = {task: found for task, found in self.cells.items() if kept[task]}
        return Measured(cells, {task: split for task, split in self.splits.items() if kept[task]}, self.memory)

    def quality(self, method: str, place: Place) -> dict[str, Any] | None:
        """Of our round; of the plain loop where a method was trained by that alone."""
        cells = self.cells[place.task]
        kinds = {"full": ("ours", "plain"), "head": ("plain",), UNTOUCHED: (UNTOUCHED,)}
        for kind in kinds.get(method, ("ours",)):
            cell = cells.get(Key(kind, method, place.seed))
            if cell is not None and "refused" not in cell:
                return cell
        return None

    def first(self, method: str, task: str) -> dict[str, Any] | None:
        """Quality of the lowest seed that was measured."""
        found = (self.quality(method, Place(task, seed)) for seed in self.seeds(task))
        return next((cell for cell in found if cell is not None), None)

    def seeds(self, task: str) -> list[int]:
        return sorted({key.seed for key in self.cells[task]})

    def refused(self, method: str, task: str) -> str | None:
        """Why a method does not fit a task's model."""
        if kind_of(task) == "language" and method in ("full", "head"):
            return "left out" if method == "full" else "there is no head"
        reason: str | None = self.cells[task].get(Key("ours", method, 0), {}).get("refused")
        return reason

    def complete(self, kind: str) -> list[Place]:
        """Tasks and seeds on which every method that fits was measured, but for those that take minutes."""
        found = []
        for task in (task for task in self.cells if kind_of(task) == kind):
            for seed in self.seeds(task):
                place = Place(task, seed)
                if not self.lacking(place):
                    found.append(place)
        return found

    def lacking(self, place: Place) -> list[str]:
        """Methods that fit and were not measured on a task with a seed."""
        needed = [m for m in ROWS if m not in MINUTES and not self.refused(m, place.task)]
        return [method for method in needed if not self.quality(method, place)]

    def ours(self, method: str, kind: str) -> list[dict[str, Any]]:
        """Every recorded round of a method on a kind of model."""
        return [
            cell
            for task, cells in self.cells.items()
            for key, cell in cells.items()
            if key[:2] == ("ours", method) and kind_of(task) == kind and "refused" not in cell
        ]


def stands(task: str, key: Key, cell: Mapping[str, Any]) -> bool:
    """Whether a cell is of the method as it is and of the rate that is chosen now.

    What was measured before cells of the plain loop named their rate does not stand. The untouched model and a refusal
    have no rate.
    """
    if key.kind == UNTOUCHED or "refused" in cell:
        return True
    if key.kind == "ours" and key.method in CHANGED and "lost" not in cell:
        return False
    return cell.get("rate") == rate_of(kind_of(task), key.method)


def standing(task: str, cells: Mapping[str, dict[str, Any]], split: str) -> dict[str, dict[str, Any]]:
    """The cells of a task's file that stand, if they are of the rows that `split` names; and that name."""
    kept: dict[str, dict[str, Any]] = {SPLIT: {"digest": split}}
    if cells.get(SPLIT) == kept[SPLIT]:
        kept |= {key: cell for key, cell in cells.items() if key != SPLIT and stands(task, Key.of(key), cell)}
    return kept


def adopt(folder: Path, published: Path = FIGURES_FILE) -> None:
    """Go on from the published cells that stand, where this machine has none of its own.

    Cells that were measured here stay. Otherwise a report from here would publish less than is published.
    """
    figures = json.loads(published.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    for task, cells in figures["cells"].items():
        if task in figures["splits"]:
            _adopt_task(_path(folder, task), task, cells, figures["splits"][task])
    memory = _read(folder / "memory.json")
    (folder / "memory.json").write_text(json.dumps({**figures["memory"], **memory}, indent=1))
    if "equal_time" in figures:
        timed = folder / EQUAL_TIME
        timed.mkdir(exist_ok=True)
        steps = {**figures["equal_time"]["steps"], **_read(timed / ALLOTTED)}
        (timed / ALLOTTED).write_text(json.dumps(steps, indent=1))
        for task, cells in figures["equal_time"]["cells"].items():
            path = _path(timed, task)
            if not path.is_file():
                path.write_text(json.dumps(cells, indent=1))


def _adopt_task(path: Path, task: str, cells: Mapping[str, dict[str, Any]], split: str) -> None:
    """Published cells of a task beside those that were measured here, if both are of the same rows."""
    found = standing(task, {**cells, SPLIT: {"digest": split}}, split)
    mine = _read(path)
    if mine.get(SPLIT, found[SPLIT]) == found[SPLIT]:
        found |= standing(task, mine, split)
    elif not is_here(task) or task_data(task).split != split:
        return  # measured here, on rows that may be the ones that count
    path.write_text(json.dumps(found, indent=1))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _path(folder: Path, task: str) -> Path:
    return folder / f"{task.replace(' ', '-')}.json"


def kind_of(task: str) -> str:
    """The model that a task is for: text, digits or language."""
    return task.rpartition(" ")[2] if task.endswith((" language", " digits")) else "text"
