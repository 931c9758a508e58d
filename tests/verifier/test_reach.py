"""A case about somebody else's task keeps no juror's machine busy for longer than its own task does."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from tests.tuning.rehearsal import minimal_spec
from verifier.reach import MOST_TIMES, out_of_reach

VALUES = 1_000
TRAINERS = 12


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> TaskSpec:
    folder: Path = tmp_path_factory.mktemp("own")
    return minimal_spec(folder)


def test_task_of_the_same_model_and_size_is_judged(own: TaskSpec) -> None:
    assert out_of_reach(own, VALUES, own, MOST_TIMES * VALUES, TRAINERS) is None


def test_model_that_would_have_to_be_fetched_is_not_judged(own: TaskSpec) -> None:
    """Attack: a model of a hub that takes hours to download, while the juror's own rounds wait."""
    model = own.model.model_copy(update={"weights_digest": Digest32(bytes(32))})
    why = out_of_reach(own, VALUES, own.model_copy(update={"model": model}), VALUES, TRAINERS)
    assert why is not None
    assert "base model" in why


def test_adapter_or_batch_that_takes_all_of_the_memory_is_not_judged(own: TaskSpec) -> None:
    assert "values" in (out_of_reach(own, VALUES, own, MOST_TIMES * VALUES + 1, TRAINERS) or "")
    size = MOST_TIMES * own.training.batch_size
    for times, judged in ((size, True), (size + 1, False)):
        training = own.training.model_copy(update={"batch_size": times})
        why = out_of_reach(own, VALUES, own.model_copy(update={"training": training}), VALUES, TRAINERS)
        assert (why is None) is judged


def test_round_that_takes_days_to_score_is_not_judged(own: TaskSpec) -> None:
    """Attack: one step to replay goes before every other case, and then nothing interrupts the scoring."""
    rows = MOST_TIMES * own.validation.rows
    for size, judged in ((rows, True), (2 * rows * own.verification.max_trainers, False)):
        validation = own.validation.model_copy(update={"rows": size})
        why = out_of_reach(own, VALUES, own.model_copy(update={"validation": validation}), VALUES, TRAINERS)
        assert (why is None) is judged
    scoring = own.scoring.model_copy(update={"budget": 2**16, "method": "exact"})
    heavy = own.model_copy(update={"scoring": scoring})
    assert "scoring reads" in (out_of_reach(own, VALUES, heavy, VALUES, TRAINERS) or "")
    assert out_of_reach(own, VALUES, heavy, VALUES, 1) is None
