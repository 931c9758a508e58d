"""`task check` tells when honest trainers would be called copies of each other."""

from __future__ import annotations

import numpy as np
import pytest

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.sponsor.likeness import honest_likeness
from deltaproof.sponsor.rehearsal import rehearse
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.training.workbench import Workbench

PLAIN_STEPS = {"name": "sgd", "learning_rate": 0.1}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{minimal_model(tmp_path_factory.mktemp('model') / 'bert', 'bert')}"


def rows_with(positive: int, of: int = 5, count: int = 128) -> list[bytes]:
    """Rows of made-up words, no two alike; so many of five have the label 1."""
    draw = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return [
        canonical_row({
            "text": " ".join("".join(draw.choice(letters, 4)) for _ in range(6)),
            "label": int(draw.integers(of) < positive),
        })
        for _ in range(count)
    ]  # fmt: skip


def bench_of(source: str, optimizer: dict[str, object]) -> Workbench:
    sections = {
        "optimizer": optimizer,
        "training": {"steps": 40, "batch_size": 4},
        "scoring": {"similarity_threshold": 0.98},
    }
    return Workbench.from_spec(complete_spec(source, "sequence-classification", sections))


@pytest.mark.parametrize(
    ("optimizer", "positive", "told"),
    [(PLAIN_STEPS, 4, True), ({"name": "adam", "learning_rate": 1e-3}, 3, False)],
)
def test_sponsor_hears_that_honest_trainers_become_alike(
    source: str, optimizer: dict[str, object], positive: int, told: bool
) -> None:
    bench = bench_of(source, optimizer)
    found = rehearse(bench.spec, bench, bench.start, rows_with(positive), speed=1e6, patience=60.0)
    assert found.problems == []
    notes = [note for note in found.notes(bench.spec) if "similarity_threshold" in note]
    assert bool(notes) is told
    assert found.alike is not None
    assert (found.alike >= 0.98) is told
    if told:
        assert "scores nothing" in notes[0]


def test_likeness_is_not_measured_where_nobody_looks_for_copies(source: str) -> None:
    bench = Workbench.from_spec(complete_spec(source, "sequence-classification", {"optimizer": PLAIN_STEPS}))
    assert bench.spec.scoring.similarity_threshold == 1.0
    assert rehearse(bench.spec, bench, bench.start, rows_with(4), speed=1e6, patience=60.0).alike is None


def test_likeness_is_not_told_of_rows_that_are_too_few_or_the_same(source: str) -> None:
    bench = bench_of(source, PLAIN_STEPS)
    rows = rows_with(4)
    assert honest_likeness(bench, bench.start, rows[:7]) is None
    assert honest_likeness(bench, bench.start, rows[:16] + rows[1:16]) is None


@pytest.mark.parametrize("letters", [True, False])
def test_sponsor_hears_that_few_of_its_rows_count_as_different(source: str, letters: bool) -> None:
    """Rows of twenty letters in any order hold the same words."""
    sections = {"scoring": {"index": "aumann_shapley", "rows": "distinct"}, "aggregation": {"weights": "rows"}}
    bench = Workbench.from_spec(complete_spec(source, "sequence-classification", sections))
    draw = np.random.default_rng(0)
    proteins = [{"text": " ".join(draw.choice(list("acdefg"), 16)), "label": 1} for _ in range(40)]
    rows = [canonical_row(row) for row in proteins] if letters else rows_with(3, count=40)
    found = rehearse(bench.spec, bench, bench.start, rows, speed=1e6)
    told = [note for note in found.notes(bench.spec) if "count as different" in note]
    assert len(told) == letters, found.different
