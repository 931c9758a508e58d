"""Recorded rounds to judge, made once a session."""

from __future__ import annotations

import pytest

from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.replaying.replay import Judge
from tests.tuning.conftest import bert_folder, bounded_round, exact_round, llama_folder
from tests.tuning.rehearsal import Rehearsal

__all__ = ["bert_folder", "bounded_round", "exact_round", "llama_folder"]


@pytest.fixture(scope="module")
def judge(exact_round: Rehearsal) -> Judge:
    return exact_round.judge()


@pytest.fixture(scope="module")
def opening(exact_round: Rehearsal) -> StepOpening:
    return exact_round.openings([2])[0]
