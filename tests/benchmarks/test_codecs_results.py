"""Arms of the codec study are compared like with like, and everything that is published counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.codecs.__main__ import page
from benchmarks.codecs.arms import ARMS, REFERENCE
from benchmarks.codecs.cells import ROUNDS, Federation, rows_of
from benchmarks.codecs.rates import DEV_TASK, TRIALS, rate_of
from benchmarks.codecs.report import NAMED, verdict
from benchmarks.codecs.results import Key, Measured, standing, text_tasks
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.tuning_tasks import OF, Cells
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, some_rows

OTHER = next(name for name in ARMS if name != REFERENCE)
RATES = {REFERENCE: 0.008, OTHER: 0.004}


def cell(*accuracies: float, size: int = 10) -> dict[str, Any]:
    return {"rounds": [{"accuracy": accuracy, "loss": 0.5, "bytes": size} for accuracy in accuracies]}


def measured(*cells: tuple[str, str, int, float, dict[str, Any]]) -> Measured:
    values = {Key(task, arm, seed, rate, "rows").text(): found for task, arm, seed, rate, found in cells}
    return Measured.read(values, RATES)


def test_points_are_of_the_seeds_and_rates_that_both_were_measured_with() -> None:
    found = measured(
        ("imdb", REFERENCE, 0, 0.008, cell(0.5, 0.80, 0.90, 0.90)),
        ("imdb", REFERENCE, 0, 0.004, cell(0.5, 0.10, 0.10, 0.10)),  # of a rate that is not the chosen one
        ("imdb", OTHER, 0, 0.004, cell(0.5, 0.78, 0.90, 0.91)),
        ("imdb", OTHER, 1, 0.004, cell(0.5, 0.10, 0.10, 0.10)),  # whose seed the reference lacks
    )
    assert [point for at in (2, 3, 4) for point in found.points(OTHER, "imdb", at)] == pytest.approx([-2, 0, 1])
    assert [(lost.round, round(lost.points, 6)) for lost in found.lost(OTHER)] == [(2, -2), (3, 0), (4, 1)]
    assert found.others == [OTHER]


def test_cells_of_other_rows_or_of_an_arm_that_was_another_do_not_stand() -> None:
    """Both would take the place of the cell that counts, since task, seed and rate are the same."""

    def key(split: str) -> str:
        return Key("imdb", OTHER, 0, 0.004, split).text()

    now = cell(0.5, 0.8, 0.9, 0.9) | {OF: ARMS[OTHER].digest}
    was = cell(0.5, 0.1, 0.1, 0.1)
    splits = {"imdb": "aa"}
    assert standing({key("aa"): now, key("bb"): now}, splits) == {key("aa"): now}
    assert standing({key("aa"): was | {OF: ARMS[REFERENCE].digest}}, splits) == {}
    assert standing({key("aa"): was}, splits) == {}, "of which nothing says what it was"
    assert standing({key("bb"): now}, {}) == {key("bb"): now}, "data that is not here cannot say otherwise"


def test_published_cells_and_trials_are_of_the_arms_as_they_are() -> None:
    cells, trials = (json.loads((FIGURES / name).read_text()) for name in ("codecs.json", TRIALS.name))
    splits = {task: rows_of(task).split for task in ("imdb", "tumours")}
    assert set(standing(cells, splits)) == set(cells)
    rows = rows_of(DEV_TASK).split
    assert all(found[OF] == f"{ARMS[text.split(' / ')[0]].digest} {rows}" for text, found in trials.items())


def test_page_is_what_its_data_say(tmp_path: Path) -> None:
    """`python -m benchmarks.codecs --report` writes it."""
    trials = Cells(TRIALS)
    page(Cells(FIGURES / "codecs.json"), trials, {name: rate_of(name, trials) for name in ARMS}, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (PAGES / "codecs.md").read_text()


def test_cell_that_depends_on_something_else_now_is_measured_anew(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "cells.json")
    assert cells.measure("tried", lambda: {"number": 1}, "rows a")["number"] == 1
    assert cells.measure("tried", lambda: {"number": 2}, "rows a")["number"] == 1
    assert cells.measure("tried", lambda: {"number": 3}, "rows b")["number"] == 3
    assert json.loads((tmp_path / "cells.json").read_text()) == {"tried": {"number": 3, OF: "rows b"}}
    cells.values["believed"] = {"number": 7}
    assert cells.measure("believed", lambda: {"number": 8}, "rows b")["number"] == 7


def test_tasks_that_lost_alike_are_named_in_the_order_of_the_tasks() -> None:
    tasks = text_tasks()
    found = measured(
        *((task, REFERENCE, 0, 0.008, cell(0.5, 0.8, 0.9, 0.9)) for task in tasks),
        *((task, OTHER, 0, 0.004, cell(0.5, 0.7, 0.9, 0.9)) for task in tasks),
    )
    assert f"on {len(tasks)} of {len(tasks)} tasks: {', '.join(tasks[:NAMED])} and" in verdict(found)


def test_arm_that_diverged_counts_as_a_guess() -> None:
    found = measured(("imdb", REFERENCE, 0, 0.008, cell(0.5, 0.8, 0.9, 0.9)), ("imdb", OTHER, 0, 0.004, cell(0.5, 0.7)))
    assert found.points(OTHER, "imdb", ROUNDS) == pytest.approx([-40])


def test_chance_is_what_two_seeds_of_the_reference_differ_by() -> None:
    found = measured(
        ("imdb", REFERENCE, 0, 0.008, cell(0.5, 0.8, 0.9, 0.9)), ("imdb", REFERENCE, 1, 0.008, cell(0.5, 0.7, 0.9, 1.0))
    )
    assert found.chance() == pytest.approx([-10, 0, 10])


@pytest.mark.parametrize("feedback", [False, True])
def test_bytes_are_of_everything_that_is_published(tmp_path: Any, feedback: bool) -> None:
    codec = {"name": "sign", "options": {"error_feedback": feedback}}
    bench = Workbench.from_spec(minimal_spec(tmp_path, codec=codec), precision="float32")
    rows = some_rows("sequence-classification", 8)
    federation = Federation(bench, [Shard(tuple(rows), Digest32(bytes(32)))] * 2, 0)
    start = bench.initial_state()
    after, sizes = federation.round(start, 1)
    assert not np.array_equal(after, start)
    assert sizes == [bench.codec.max_bytes + (4 * len(start) if feedback else 0)] * 2


def test_fall_between_rounds_is_named_with_its_seed() -> None:
    found = measured(
        ("imdb", REFERENCE, 0, 0.008, cell(0.9, 0.8, 0.9, 0.9)),
        ("imdb", REFERENCE, 1, 0.008, cell(0.5, 0.85, 0.5, 0.9)),
    )
    assert found.falls(REFERENCE) == ["imdb at 3 (seed 1, 0.500)"]
