"""Arms of the codec study are compared like with like, and everything that is published counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.codecs.arms import ARMS, REFERENCE
from benchmarks.codecs.cells import ROUNDS, Federation
from benchmarks.codecs.results import Key, Measured
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.training.workbench import Workbench
from tests.tuning.rehearsal import minimal_spec, some_rows

OTHER = next(name for name in ARMS if name != REFERENCE)
RATES = {REFERENCE: 0.008, OTHER: 0.004}


def cell(*accuracies: float, size: int = 10) -> dict[str, Any]:
    return {"rounds": [{"accuracy": accuracy, "loss": 0.5, "bytes": size} for accuracy in accuracies]}


def measured(*cells: tuple[str, str, int, float, dict[str, Any]]) -> Measured:
    values = {Key(task, arm, seed, rate, "rows").text(): found for task, arm, seed, rate, found in cells}
    return Measured.read(values, RATES)


def test_points_are_of_the_seeds_and_rates_that_both_were_measured_with() -> None:
    found = measured(
        ("imdb", REFERENCE, 0, 0.008, cell(0.5, 0.80, 0.90, 0.90)),
        ("imdb", REFERENCE, 0, 0.004, cell(0.5, 0.10, 0.10, 0.10)),  # of a rate that is not the chosen one
        ("imdb", OTHER, 0, 0.004, cell(0.5, 0.78, 0.90, 0.91)),
        ("imdb", OTHER, 1, 0.004, cell(0.5, 0.10, 0.10, 0.10)),  # whose seed the reference lacks
    )
    assert [point for at in (2, 3, 4) for point in found.points(OTHER, "imdb", at)] == pytest.approx([-2, 0, 1])
    assert [(lost.round, round(lost.points, 6)) for lost in found.lost(OTHER)] == [(2, -2), (3, 0), (4, 1)]
    assert found.others == [OTHER]


def test_arm_that_diverged_counts_as_a_guess() -> None:
    found = measured(("imdb", REFERENCE, 0, 0.008, cell(0.5, 0.8, 0.9, 0.9)), ("imdb", OTHER, 0, 0.004, cell(0.5, 0.7)))
    assert found.points(OTHER, "imdb", ROUNDS) == pytest.approx([-40])


def test_chance_is_what_two_seeds_of_the_reference_differ_by() -> None:
    found = measured(
        ("imdb", REFERENCE, 0, 0.008, cell(0.5, 0.8, 0.9, 0.9)), ("imdb", REFERENCE, 1, 0.008, cell(0.5, 0.7, 0.9, 1.0))
    )
    assert found.chance() == pytest.approx([-10, 0, 10])


@pytest.mark.parametrize("feedback", [False, True])
def test_bytes_are_of_everything_that_is_published(tmp_path: Any, feedback: bool) -> None:
    codec = {"name": "sign", "options": {"error_feedback": feedback}}
    bench = Workbench.from_spec(minimal_spec(tmp_path, codec=codec), precision="float32")
    rows = some_rows("sequence-classification", 8)
    federation = Federation(bench, [Shard(tuple(rows), Digest32(bytes(32)))] * 2, 0)
    start = bench.initial_state()
    after, sizes = federation.round(start, 1)
    assert not np.array_equal(after, start)
    assert sizes == [bench.codec.max_bytes + (4 * len(start) if feedback else 0)] * 2


def test_fall_between_rounds_is_named_with_its_seed() -> None:
    found = measured(
        ("imdb", REFERENCE, 0, 0.008, cell(0.9, 0.8, 0.9, 0.9)),
        ("imdb", REFERENCE, 1, 0.008, cell(0.5, 0.85, 0.5, 0.9)),
    )
    assert found.falls(REFERENCE) == ["imdb at 3 (seed 1, 0.500)"]
