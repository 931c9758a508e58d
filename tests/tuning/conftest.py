"""Tiny models, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.tuning.rehearsal import Rehearsal, minimal_spec, rehearse

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "bert"


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "llama"


@pytest.fixture(scope="session")
def exact_round(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """Six AdamW steps in exact mode."""
    return rehearse(minimal_spec(bert_folder), tmp_path_factory.mktemp("exact") / "round")


@pytest.fixture(scope="session")
def bounded_round(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """Six AdamW steps in bounded mode."""
    spec = minimal_spec(bert_folder, training={"numeric": "bounded"})
    return rehearse(spec, tmp_path_factory.mktemp("bounded") / "round")
