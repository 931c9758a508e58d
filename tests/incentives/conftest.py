"""The minimal model of `tiny_rounds`, made once."""

from __future__ import annotations

import pytest

from deltaproof.tuning.base_models.presets import minimal_model


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{minimal_model(tmp_path_factory.mktemp('model') / 'bert', 'bert')}"
