"""`task check` tells when rounding decides how a round ends, and what rate to take instead."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.sponsor.stability import DECIDES, Stability, looked_at, stability_note
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.training.workbench import Workbench

ROWS = [canonical_row({"text": f"row {i} of some {i % 7} words", "label": i % 2}) for i in range(64)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{minimal_model(tmp_path_factory.mktemp('model') / 'bert', 'bert')}"


def bench_of(source: str, rate: float, name: str = "adam", numeric: str = "exact", **optimizer: Any) -> Workbench:
    sections = {
        "optimizer": {"name": name, "learning_rate": rate, **optimizer},
        "training": {"steps": 40, "batch_size": 4, "numeric": numeric},
    }
    return Workbench.from_spec(complete_spec(source, "sequence-classification", sections))


@pytest.mark.parametrize("numeric", ["exact", "bounded"])
def test_unstable_training_is_told_with_a_rate_that_is_calm(source: str, numeric: str) -> None:
    bench = bench_of(source, 1.0, numeric=numeric)
    found = looked_at(bench, bench.start, ROWS, 60.0)
    assert found[0].decides
    assert [one.rate for one in found] == [0.5**i for i in range(len(found))]
    assert found[-1].moved < DECIDES
    assert len(found) > 1
    note = stability_note(bench.spec, found)
    assert note is not None
    assert "learning_rate = 1 " in note
    assert f"at {found[-1].rate:g} it moves" in note


def test_nothing_is_told_of_stable_training(source: str) -> None:
    bench = bench_of(source, 1e-2)
    found = looked_at(bench, bench.start, ROWS, 60.0)
    assert len(found) == 1
    assert 0.0 < found[0].moved < 1e-4  # the second run did differ
    assert stability_note(bench.spec, found) is None


def test_the_same_is_found_twice(source: str) -> None:
    bench = bench_of(source, 1.0)
    assert looked_at(bench, bench.start, ROWS, 60.0) == looked_at(bench, bench.start, ROWS, 60.0)


def test_training_that_diverges_is_told(source: str) -> None:
    bench = bench_of(source, 1.0)
    found = looked_at(bench, np.full_like(bench.start, 1e30), ROWS, 60.0)
    assert math.isinf(found[0].moved)
    assert found[0].record()["moved"] is None
    assert "diverges" in (stability_note(bench.spec, found) or "")


def test_who_has_no_patience_hears_what_was_not_looked_at(source: str) -> None:
    bench = bench_of(source, 1e-2)
    found = looked_at(bench, bench.start, ROWS, 0.0)
    assert found == []
    assert "not looked at" in (stability_note(bench.spec, found) or "")
    for cut in ([Stability(1.0, 20, 0.3, 0.6)], [Stability(1.0, 40, 0.3, 0.6)]):
        assert "with more --patience lower rates are tried" in (stability_note(bench.spec, cut) or "")
    all_tried = [Stability(0.5**i, 40, 0.3, 0.6) for i in range(4)]
    assert "more --patience" not in (stability_note(bench.spec, all_tried) or "")
    half = [Stability(1e-2, 20, 1e-6, 0.6)]
    assert "first 20 of 40 steps" in (stability_note(bench.spec, half) or "")


def test_a_looked_at_bench_is_as_it_was(source: str) -> None:
    """The rate that is tried is the look's own: a task keeps its terms."""
    bench = bench_of(source, 1.0)
    before = replace(bench)
    looked_at(bench, bench.start, ROWS, 60.0)
    assert bench.spec.optimizer.learning_rate == 1.0
    assert np.array_equal(bench.start, before.start)
