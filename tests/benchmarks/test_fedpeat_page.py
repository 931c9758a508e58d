"""The page of FedPEAT: one step measured several times is told once, and a model is not paid for twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fedpeat import __main__ as command
from benchmarks.fedpeat.tasks import ARMS

ONE_LAYER = "FedPEAT 0.07, last layer only"
LONGER = f"{ONE_LAYER}, 12 steps a round"


@pytest.fixture
def cells() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command.PUBLISHED.read_text())
    return {key: {name: value for name, value in cell.items() if name != "settings"} for key, cell in found.items()}


def told(cells: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(command, "DOC", folder / "page.md")
    command.write(cells)
    page = (folder / "page.md").read_text()
    return page[page.index("## MiniLM") : page.index("## SmolLM2")]


def costs(page: str, arm: str) -> list[str]:
    return [line.split(" | ") for line in page.splitlines() if line.startswith(f"| {arm} | ")][1]


def test_arms_of_one_step_show_the_mean_of_its_measurements(
    cells: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arm, seconds, peak in ((ONE_LAYER, 0.2, 600.0), (LONGER, 0.4, 700.0)):
        cells[f"MiniLM / trainer / {arm} / 0"] |= {"step_seconds": seconds, "peak_mib": peak}
    cells["MiniLM / bare / - / 0"]["peak_mib"] = 400.0
    cells["MiniLM / trainer / federated full fine-tuning / 0"]["step_seconds"] = 0.9
    cells["MiniLM / trainer / federated PEFT / 0"]["step_seconds"] = 0.5
    page = told(cells, tmp_path, monkeypatch)
    one, longer = costs(page, ONE_LAYER), costs(page, LONGER)
    assert one[1:] == longer[1:]
    assert (one[1], one[3], one[4]) == ("250", "0.300", "3.00")
    assert f"12 steps of a round of {LONGER} cost 3.60 s, the 5 of federated PEFT 2.50 s" in page


def test_full_fine_tuning_does_not_fetch_its_model_twice(
    cells: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arm in ARMS["MiniLM"]:
        cells[f"MiniLM / trainer / {arm.name} / 0"]["values"] = 2**20 if arm.name == ONE_LAYER else 25 * 2**20
    cells[f"MiniLM / emulator / {ONE_LAYER} / 0"]["file_bytes"] = 68 * 2**20
    monkeypatch.setattr(command, "weights_bytes", lambda source: 100 * 2**20)
    page = told(cells, tmp_path, monkeypatch)
    assert costs(page, ONE_LAYER)[-1] == "8.0 |", "100 MiB, and 7 times 100, over 68 MiB, and 8 times 4"
