"""`deltaproof methods` and `recommend` on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deltaproof.cli import app
from deltaproof.sponsor.recommend import CANDIDATES
from deltaproof.tuning.base_models.presets import minimal_model
from deltaproof.tuning.errors import DivergenceError
from deltaproof.tuning.methods import METHODS
from tests.tuning.rehearsal import some_rows


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{minimal_model(tmp_path_factory.mktemp('cli') / 'bert', 'bert')}"


def test_list_names_every_method_and_measures_those_that_fit(model: str) -> None:
    result = CliRunner().invoke(app, ["methods", "--model", model, "--json"])
    assert result.exit_code == 0, result.output
    found = {entry["method"]: entry for entry in json.loads(result.stdout)["methods"]}
    assert set(found) == set(METHODS)
    assert found["lora"]["values"] * 4 == found["lora"]["delta_bytes"]
    assert found["full"]["values"] > found["lora"]["values"] > found["ia3"]["values"] > 0
    assert found["lora"]["state_bytes"] == 16 * found["lora"]["values"], "adapter, two moments, gradient"


def asked(model: str, folder: Path, *more: str) -> Sequence[str]:
    data = folder / "rows.jsonl"
    data.write_bytes(b"\n".join(some_rows("sequence-classification", 32)) + b"\n")
    options = ("--model", model, "--data", str(data), "--steps", "3", "--batch", "4")
    return ["methods", "recommend", *options, *more]


def test_recommendation_fits_the_budget_and_is_the_best_tried(model: str, tmp_path: Path) -> None:
    arguments = asked(model, tmp_path, "--json")
    result = CliRunner().invoke(app, [*arguments, "--budget", "5000"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert all(trial["size"]["delta_bytes"] <= 5000 for trial in answer["trials"])
    gains = [trial["gain"] for trial in answer["trials"]]
    assert gains == sorted(gains, reverse=True)
    assert answer["recommended"] == answer["trials"][0]["size"]["name"]
    assert any("query" in name for name in answer["sensitivity"])
    nothing = CliRunner().invoke(app, [*arguments, "--budget", "1"])
    assert nothing.exit_code != 0


HOPELESS = {"r": 8, "lora_alpha": 1e38}
"""Options of lora with which no float32 product stays finite."""


def test_candidate_that_diverges_is_told_and_the_others_are_tried(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {"lora": (HOPELESS, 100.0), "ia3": CANDIDATES["ia3"]}
    monkeypatch.setattr("deltaproof.sponsor.recommend.CANDIDATES", only)
    arguments = asked(model, tmp_path, "--budget", "100000")
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["recommended"] == "ia3"
    assert [trial["size"]["name"] for trial in answer["trials"]] == ["ia3"]
    assert [(one["size"]["name"], one["learning_rate"]) for one in answer["diverged"]] == [("lora", 100.0)]
    shown = CliRunner().invoke(app, arguments).stdout
    assert "lora diverges at learning rate 100: step" in shown
    assert "recommended: ia3" in shown


def test_no_recommendation_where_every_candidate_diverges(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {"lora": (HOPELESS, 100.0), "rslora": (HOPELESS, 100.0)}
    monkeypatch.setattr("deltaproof.sponsor.recommend.CANDIDATES", only)
    result = CliRunner().invoke(app, asked(model, tmp_path, "--budget", "100000"))
    assert result.exit_code != 0
    assert isinstance(result.exception, DivergenceError)
    assert "every method that fits 100000 bytes" in str(result.exception)
    assert "rslora diverges" in str(result.exception)
