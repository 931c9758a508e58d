"""A cell of the benchmark of methods counts at the rate that is chosen now, and a run measures the others anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.methods import __main__ as command
from benchmarks.methods.cells import our_cell, task_data
from benchmarks.methods.plain_loop import plain_cell
from benchmarks.methods.rates import rate_of
from benchmarks.methods.results import SPLIT, Key, Measured, adopt, standing, stands

TASK = "inverted digits"


def cell(method: str, factor: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"accuracy": 0.5, "loss": 1.0, "rate": factor * rate_of("digits", method), **more}


CELLS = {
    "ours / lora / 0": cell("lora"),
    "ours / ia3 / 0": cell("ia3", 4.0),
    "ours / prefix / 0": {"refused": "prompts go before tokens"},
    "ours / adalora / 0": cell("adalora"),
    "ours / diff_pruning / 0": cell("diff_pruning", lost=0.0),
    "plain / adalora / 0": cell("adalora"),
    "plain / head / 0": {"accuracy": 0.5, "loss": 1.0},
    "plain / full / 0": cell("full", 0.25),
    "untouched / untouched / 0": {"accuracy": 0.1, "loss": 2.3},
}
STANDING = {
    "ours / lora / 0",
    "ours / prefix / 0",
    "ours / diff_pruning / 0",
    "plain / adalora / 0",
    "untouched / untouched / 0",
}
"""Left out: ia3 and full of another rate, a head of an unknown one, adalora before its budget was applied."""
SAME = {"same start / lora / 0", "same start / ia3 / 0"}


def test_cells_of_another_rate_or_of_none_do_not_stand() -> None:
    assert {key for key, found in CELLS.items() if stands(TASK, Key.of(key), found)} == STANDING


def test_cells_of_another_split_do_not_stand() -> None:
    cells = {**CELLS, SPLIT: {"digest": "aa"}}
    assert set(standing(TASK, cells, "aa")) == STANDING | {SPLIT}
    assert standing(TASK, cells, "bb") == {SPLIT: {"digest": "bb"}}


def test_stale_cells_are_neither_reported_nor_adopted(tmp_path: Path) -> None:
    file = tmp_path / "inverted-digits.json"
    file.write_text(json.dumps({**CELLS, SPLIT: {"digest": "aa"}}))
    measured = Measured.read(tmp_path)
    assert {key.text() for key in measured.cells[TASK]} == STANDING
    assert [found["rate"] for found in measured.ours("ia3", "digits")] == []

    published = tmp_path / "published.json"
    published.write_text(json.dumps({"cells": {TASK: CELLS}, "splits": {TASK: "aa"}, "memory": {}}))
    adopt(tmp_path / "anew", published)
    assert set(json.loads((tmp_path / "anew" / file.name).read_text())) == STANDING | {SPLIT}


def test_what_was_measured_here_stays_and_what_was_published_comes_to_it(tmp_path: Path) -> None:
    split = task_data(TASK).split
    file, published = tmp_path / "inverted-digits.json", tmp_path / "published.json"
    theirs = {"ours / lora / 0": cell("lora"), "ours / lora / 1": cell("lora")}
    figures = {"cells": {TASK: theirs}, "splits": {TASK: split}, "memory": {"text / bare": {"peak_mib": 1.0}}}
    published.write_text(json.dumps(figures))

    mine = {"ours / lora / 0": cell("lora") | {"accuracy": 0.9}, "ours / ia3 / 0": cell("ia3")}
    file.write_text(json.dumps({**mine, "ours / lora / 1": cell("lora", 4.0), SPLIT: {"digest": split}}))
    (tmp_path / "memory.json").write_text(json.dumps({"text / lora": {"peak_mib": 2.0}}))
    adopt(tmp_path, published)
    assert json.loads(file.read_text()) == {**theirs, **mine, SPLIT: {"digest": split}}, "one here had another rate"
    assert set(json.loads((tmp_path / "memory.json").read_text())) == {"text / bare", "text / lora"}

    file.write_text(json.dumps({**mine, SPLIT: {"digest": "bb"}}))
    adopt(tmp_path, published)
    assert json.loads(file.read_text()) == {**theirs, SPLIT: {"digest": split}}, "mine were of rows that are gone"
    published.write_text(json.dumps({**figures, "splits": {TASK: "bb"}}))
    adopt(tmp_path, published)
    assert json.loads(file.read_text()) == {**theirs, SPLIT: {"digest": split}}, "theirs are"


def test_report_leaves_out_a_task_whose_rows_are_others_now(tmp_path: Path) -> None:
    for task, digest in (("imdb", task_data("imdb").split), ("yelp", "aa")):
        (tmp_path / f"{task}.json").write_text(json.dumps({**CELLS, SPLIT: {"digest": digest}}))
    measured = Measured.read(tmp_path)
    assert (list(measured.cells), list(measured.of_these_rows().cells)) == (["imdb", "yelp"], ["imdb"])
    assert list(measured.of_these_rows().splits) == ["imdb"]


def test_loop_without_us_that_begins_where_our_round_does_ends_where_it_does() -> None:
    data = task_data(TASK)
    rate = rate_of("digits", "ia3")
    ours = our_cell(data, "ia3", rate, 0, replay=False)
    same = plain_cell(data, "ia3", rate, 0, same_start=True)
    own = plain_cell(data, "ia3", rate, 0)
    assert same["accuracy"] == ours["accuracy"]
    assert abs(same["loss"] - ours["loss"]) < 1e-3 < abs(own["loss"] - ours["loss"])


def test_command_says_in_a_line_that_a_device_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(SystemExit):
        command.main(["--device", missing])
    assert f"error: --device {missing}: " in capsys.readouterr().err


def test_run_that_goes_on_measures_what_changed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = task_data(TASK)
    file = tmp_path / "inverted-digits.json"
    file.write_text(json.dumps({**CELLS, SPLIT: {"digest": data.split}}))
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    command.measure_task(TASK, 0, ["lora", "ia3", "head"])
    found = json.loads(file.read_text())
    assert found["ours / lora / 0"] == CELLS["ours / lora / 0"]
    assert found["untouched / untouched / 0"] == CELLS["untouched / untouched / 0"]
    assert found["ours / ia3 / 0"]["rate"] == rate_of("digits", "ia3")
    assert found["plain / head / 0"]["rate"] == rate_of("digits", "head")
    assert set(found) == STANDING | {SPLIT, "ours / ia3 / 0", "plain / head / 0", *SAME}
    assert stands(TASK, Key("plain", "head", 0), found["plain / head / 0"])
