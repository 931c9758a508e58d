"""What `task list` looks up, it looks up once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaproof.cli.task_choice import ModelSizes
from deltaproof.replaying import estimate
from deltaproof.replaying.estimate import ModelSize
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model


def test_size_of_a_model_is_asked_for_once_also_if_nobody_knows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def answer(source: str) -> ModelSize | None:
        asked.append(source)
        return None if source.startswith("hub:") else ModelSize(7, 3, is_here=True)

    monkeypatch.setattr(estimate, "model_size", answer)
    sizes = ModelSizes()
    spec = complete_spec(f"path:{minimal_model(tmp_path / 'bert', 'bert')}", "sequence-classification", {})
    assert [sizes.stored_bytes(spec), sizes.stored_bytes(spec)] == [7, 7]
    assert [sizes.of("hub:nobody/nothing"), sizes.of("hub:nobody/nothing")] == [None, None]
    assert asked == [spec.model.source, "hub:nobody/nothing"]
