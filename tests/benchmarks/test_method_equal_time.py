"""Rounds of equal time: steps follow from CPU seconds, once, and only what they change is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.methods.cells import task_data
from benchmarks.methods.equal import equal
from benchmarks.methods.equal_time import EqualTime
from benchmarks.methods.quality import Quality
from benchmarks.methods.rates import rate_of
from benchmarks.methods.results import EQUAL_TIME, KINDS, ROWS, SPLIT, Measured, Place, adopt

TASKS = ("inverted digits", "odd digits")
SECONDS = {"lora": 2.0, "ia3": 4.0, "layer_norm": 1.5, "full": 1e9, "dora": 2.01}
REFUSED = ("prefix", "prompt", "p_tuning")


def written(folder: Path, task: str, split: str, seconds: dict[str, float]) -> None:
    """Cells of a task on which every method was measured and is half right."""
    cells: dict[str, dict[str, Any]] = {SPLIT: {"digest": split}}
    for method in ROWS:
        cell = {"accuracy": 0.5, "loss": 1.0, "values": 9, "rate": rate_of("digits", method), "lost": 0.0}
        kind = "plain" if method == "head" else "ours"
        timed = {} if method == "head" else {"train_seconds": seconds.get(method, 2.0)}
        cells[f"{kind} / {method} / 0"] = {"refused": "no tokens"} if method in REFUSED else {**cell, **timed}
    (folder / f"{task.replace(' ', '-')}.json").write_text(json.dumps(cells))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for task in TASKS:
        written(tmp_path, task, "aa", SECONDS)
    return tmp_path


def timed_cells(folder: Path, task: str, accuracy: dict[str, float], split: str = "aa") -> None:
    steps = EqualTime(folder).steps["digits"]
    cells = {
        f"{method} / 0": {
            "accuracy": accuracy.get(method, 0.5),
            "loss": 1.0,
            "rate": rate_of("digits", method),
            "steps": count,
            "split": split,
        }
        for method, count in steps.items()
        if count != 60
    }
    (folder / EQUAL_TIME / f"{task.replace(' ', '-')}.json").write_text(json.dumps(cells))


def test_steps_are_those_that_fit_in_the_time_of_lora_and_stay(folder: Path) -> None:
    quality = Quality(Measured.read(folder), "digits")
    steps = EqualTime(folder).allot(quality)
    assert {m: steps[m] for m in SECONDS} == {"lora": 60, "ia3": 30, "layer_norm": 80, "full": 1, "dora": 60}
    assert "head" not in steps
    assert "prefix" not in steps
    written(folder, TASKS[0], "aa", {"ia3": 8.0})
    assert EqualTime(folder).allot(Quality(Measured.read(folder), "digits")) == steps


def test_table_of_equal_time_waits_for_every_method_and_for_what_stands(folder: Path) -> None:
    measured = Measured.read(folder)
    qualities = {kind: Quality(measured, kind) for kind in KINDS}
    EqualTime(folder).allot(qualities["digits"])
    timed_cells(folder, TASKS[0], {"layer_norm": 0.9, "ia3": 0.4})
    assert "Equal time, measured" not in "\n".join(equal(qualities, EqualTime(folder)))
    timed_cells(folder, TASKS[1], {"layer_norm": 0.8, "ia3": 0.4})
    lines = equal(qualities, EqualTime(folder))
    assert "2 tasks, 2 runs of each method" in "\n".join(lines)
    start = next(i for i, line in enumerate(lines) if line.startswith("| method | steps |"))
    assert lines[start + 2] == "| `layer_norm` | 80 | 0.500 | 0.850 | 1.0 |"
    assert any(line.startswith("| `ia3` | 30 | 0.500 | 0.400 |") for line in lines)
    timed_cells(folder, TASKS[1], {"layer_norm": 0.8}, split="bb")
    assert list(EqualTime(folder).qualities(qualities["digits"])) == [Place(TASKS[0], 0)], "of other rows"


def test_equal_time_goes_on_from_what_was_published(folder: Path, tmp_path: Path) -> None:
    measured = Measured.read(folder)
    timed = EqualTime(folder)
    timed.allot(Quality(measured, "digits"))
    for task in TASKS:
        timed_cells(folder, task, {"ia3": 0.4})
    published, anew = tmp_path / "published.json", tmp_path / "anew"
    figures = {"cells": {}, "splits": {}, "memory": {}, "equal_time": timed.published(measured)}
    published.write_text(json.dumps(figures))
    adopt(anew, published)
    assert EqualTime(anew).published(measured) == timed.published(measured)
    assert len(timed.published(measured)["cells"]) == 2


def test_only_other_numbers_of_steps_are_measured(tmp_path: Path) -> None:
    data = task_data(TASKS[0])
    written(tmp_path, TASKS[0], data.split, SECONDS)
    (tmp_path / EQUAL_TIME).mkdir()
    (tmp_path / EQUAL_TIME / "steps.json").write_text(json.dumps({"digits": {"lora": 60, "ia3": 2}}))
    timed, place = EqualTime(tmp_path), Place(TASKS[0], 0)
    timed.measure(place)
    cells = timed.cells(TASKS[0], data.split).values
    assert list(cells) == ["ia3 / 0"]
    assert (cells["ia3 / 0"]["steps"], cells["ia3 / 0"]["rate"]) == (2, rate_of("digits", "ia3"))
    found = timed.qualities(Quality(Measured.read(tmp_path), "digits"))[place]
    assert found == {"lora": (0.5, 0.5), "ia3": (0.5, cells["ia3 / 0"]["accuracy"])}
