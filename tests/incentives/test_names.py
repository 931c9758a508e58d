"""What terms leave to many names: formulas against rows that are counted."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gaming.names_page import largest_gains
from benchmarks.shared.places import FIGURES
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from incentives.names import NAMES, TRAINERS, measured_gains, names_gain
from incentives.row_evidence import RowClaim, count_rows

DISTINCT: dict[str, Any] = {"index": "aumann_shapley", "rows": "distinct"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"path:{minimal_model(Path(tmp_path_factory.mktemp('names')) / 'bert', 'bert')}"


def spec_of(source: str, **sections: Any) -> TaskSpec:
    sections = {"training": {"steps": 12, "batch_size": 8}, **sections}
    if "scoring" in sections:
        sections["aggregation"] = {"weights": "rows"}
    return complete_spec(source, "sequence-classification", sections)


def test_names_that_weigh_by_themselves_gain_nearly_as_many_times(source: str) -> None:
    found = names_gain(spec_of(source))
    assert found.gain == pytest.approx(TRAINERS * NAMES / (NAMES + TRAINERS - 1))
    assert "distinct" in found.remedy
    enrolled = names_gain(spec_of(source, scoring={"index": "aumann_shapley"}))
    assert enrolled == found


def test_floor_pays_names_and_is_told(source: str) -> None:
    verification = {"samples": 10, "min_verifiers": 1}
    open_door = spec_of(source, verification=verification, rewards={"floor_bps": 100})
    found = names_gain(open_door)
    assert found.gain == pytest.approx(TRAINERS * NAMES / (NAMES + TRAINERS - 1))
    assert found.remedy.endswith("rewards.floor_bps = 0")
    rowless = spec_of(source, scoring=DISTINCT, verification=verification, rewards={"floor_bps": 100})
    assert names_gain(rowless).gain == pytest.approx(1.0)


def test_named_shards_leave_nothing(source: str) -> None:
    assert names_gain(spec_of(source, data={"roots": ["0x" + "5b" * 32]})).gain == 1.0


def test_rows_of_all_steps_leave_nothing(source: str) -> None:
    verification = {"samples": 10, "min_verifiers": 1}
    found = names_gain(spec_of(source, scoring=DISTINCT, verification=verification))
    assert (found.gain, found.remedy) == (pytest.approx(1.0), "")


def test_few_shown_rows_leave_what_counting_them_leaves(source: str) -> None:
    """First and last step: 16 of 96 rows."""
    names, total = 8, 0
    for seed in range(30):
        draw = random.Random(seed)
        rows = [canonical_row({"text": f"w{seed} x{i} y{i} z{i} u{i}", "label": 0}) for i in range(96)]
        claims = [RowClaim(n, 96, frozenset(draw.sample(rows, 16))) for n in range(names)]
        total += sum(count.counted for count in count_rows(claims))
    weight = total / 30 / 96
    found = names_gain(spec_of(source, scoring=DISTINCT, verification={"samples": 0, "min_verifiers": 1}), names)
    assert found.gain == pytest.approx(TRAINERS * weight / (weight + TRAINERS - 1), rel=0.1)


def test_measured_gains_are_those_of_the_results_page(source: str) -> None:
    figures = json.loads((FIGURES / "names.json").read_text())
    for index, rows, rule in (
        ("aumann_shapley", "distinct", "distinct"),
        ("aumann_shapley", "enrolled", "aumann_shapley"),
        ("shapley", "enrolled", "shapley"),
    ):
        scoring = {"index": index} if rows == "enrolled" else DISTINCT
        told = measured_gains(spec_of(source, scoring=scoring))
        assert told
        assert [asdict(found) for found in told] == largest_gains(figures["rows"])[rule]
    assert not measured_gains(spec_of(source, data={"roots": ["0x" + "5b" * 32]}))


def test_round_that_improves_nothing_pays_by_heads_and_is_told(source: str) -> None:
    shown = {"samples": 10, "min_verifiers": 1}
    assert names_gain(spec_of(source, scoring=DISTINCT, verification=shown)).idle_gain == pytest.approx(1.0)
    assert names_gain(spec_of(source)).idle_gain == pytest.approx(TRAINERS * NAMES / (NAMES + TRAINERS - 1))
    few = names_gain(spec_of(source, scoring=DISTINCT, verification={"samples": 0, "min_verifiers": 1}), 8)
    assert few.idle_gain > few.gain > 1.0, "a name of which a part counts is a head"
