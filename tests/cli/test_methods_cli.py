"""`deltaproof methods` and `recommend` on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deltaproof.cli import app
from deltaproof.tuning.base_models.presets import minimal_model
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


def test_recommendation_fits_the_budget_and_is_the_best_tried(model: str, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_bytes(b"\n".join(some_rows("sequence-classification", 32)) + b"\n")
    arguments = [
        "methods",
        "recommend",
        "--model",
        model,
        "--data",
        str(data),
        "--steps",
        "3",
        "--batch",
        "4",
        "--json",
    ]
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
