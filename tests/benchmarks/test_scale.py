"""The arithmetic of the page on rounds of many trainers."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.scale.layer2 import Bytes, bytes_of
from benchmarks.scale.page import REAL, _growth, _part


def test_calldata_gas_is_the_floor_of_eip_7623() -> None:
    assert Bytes(zero=1, other=0).calldata_gas == 10
    assert Bytes(zero=0, other=1).calldata_gas == 40


def test_a_blob_of_blob_gas_holds_31_bytes_of_every_32() -> None:
    assert Bytes(zero=4096 * 31, other=0).blob_gas == 131_072


def test_batches_are_shared_by_all_trainers_and_a_claim_is_one_trainers() -> None:
    sent = {"transactions": 2, "zero": 400, "other": 8_000}
    cell = {"trainers": 100, "calldata": {"commit": sent, "claim": {**sent, "transactions": 1}}}
    assert bytes_of(cell, "commit") == Bytes(4, 80 + 2 * 110 / 100)
    assert bytes_of(cell, "claim") == Bytes(400, 8_000 + 110)


@pytest.mark.parametrize(("exponent", "most"), [(0, 7.0), (1, 70.0), (2, 700.0)])
def test_growth_is_the_exponent_between_the_two_largest(exponent: int, most: float) -> None:
    assert _growth([(1, 10**9), (10, 7.0), (100, most)]) == pytest.approx(exponent)


def test_far_column_follows_the_line_where_a_round_has_a_part_of_its_own() -> None:
    cells = [{"trainers": 1_000, "cost": 20.0}, {"trainers": 4_000, "cost": 50.0}]
    assert "| 20 | 50 | 0.66 | 1,010 |" in _part("", "", {"cost": lambda c: c["cost"]}, cells)


def test_growth_with_trainers_leaves_out_cells_of_more_verifiers() -> None:
    cells: list[dict[str, Any]] = [
        {"trainers": 20, "verifiers": 3, "replayed_steps": 60},
        {"trainers": 100, "verifiers": 3, "replayed_steps": 300},
        {"trainers": 100, "verifiers": 12, "replayed_steps": 900},
    ]
    part = _part("", "", {"steps": REAL["steps that a verifier replays"], "unknown": lambda c: c["none"]}, cells)
    assert "| steps | 60 | 300 | 900 | 1.00 | 300,000 |" in part
    assert "| unknown | - | - | - |  |  |" in part, "what no cell measured"
