"""Values along a round's step: against a game with a closed form, by their axioms, and against hostile losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltaproof.protocol.rules import NANOS, PATH_NODES, PATH_PASSES, PATH_WEIGHTS, STEP_UNITS
from deltaproof.tuning.numerics.linalg import Array
from incentives.path import Landscape, PathPass, Valued, path_values, value_along_path, values_of_passes
from incentives.semivalues import GameError
from incentives.steps import capped_units

SIZE = 5


@dataclass
class Bowl:
    """L(x) = sum (x - aim)^2 / 2 + bend sum x^3 / 6, x the sum of shares times updates [N, SIZE]; one row a group.

    Slopes along the path are polynomials of the second degree, which four nodes integrate exactly.
    """

    updates: Array
    aim: Array
    bend: float = 0.0

    def slopes(self, shares: Sequence[Array]) -> list[Array]:
        return [-(self._gradient(row[1:] @ self.updates) * self.updates).T for row in shares]

    def gain(self, shares: Array) -> float:
        reached = shares[1:] @ self.updates
        return float(self._loss(np.zeros(SIZE)) - self._loss(reached)) / SIZE

    def _gradient(self, x: Array) -> Array:
        return x - self.aim + self.bend * x**2 / 2

    def _loss(self, x: Array) -> float:
        return float(((x - self.aim) ** 2).sum() / 2 + self.bend * (x**3).sum() / 6)


def valued(game: Landscape, rows: Sequence[int], *, norms: Sequence[float] | None = None, stay: bool = True) -> Valued:
    return value_along_path(game, norms or [1.0] * len(rows), rows, [1] * SIZE, stay=stay)


numbers = st.floats(-1, 1, allow_nan=False, width=32)
vectors = st.lists(numbers, min_size=SIZE, max_size=SIZE).map(np.array)
rounds = st.lists(st.tuples(vectors, st.integers(1, 50)), min_size=2, max_size=6)


@given(rounds, vectors, st.floats(0, 1, width=32))
@settings(max_examples=50, deadline=None)
def test_efficiency_values_add_up_to_the_gain_exactly(
    players: list[tuple[Array, int]], aim: Array, bend: float
) -> None:
    found = valued(Bowl(np.stack([d for d, _ in players]), aim, bend), [rows for _, rows in players])
    assert sum(found.values_nanos) == found.passes[0].gain_nanos


@given(rounds, vectors)
@settings(max_examples=50, deadline=None)
def test_values_of_a_quadratic_loss_are_those_of_the_closed_form(players: list[tuple[Array, int]], aim: Array) -> None:
    """Of (x - aim)^2 / 2 a player's value is <aim - D / 2, its part of D>."""
    updates, rows = np.stack([d for d, _ in players]), [rows for _, rows in players]
    parts = updates * (np.array(capped_units([1.0] * len(rows), rows)) / STEP_UNITS)[:, None]
    expected = (aim - parts.sum(axis=0) / 2) * parts
    found = valued(Bowl(updates, aim), rows)
    assert np.allclose(found.values_nanos, expected.sum(axis=1) / SIZE * NANOS, atol=5)


@given(rounds, vectors, st.floats(0, 1, width=32))
@settings(max_examples=30, deadline=None)
def test_symmetry_order_of_players_orders_values(players: list[tuple[Array, int]], aim: Array, bend: float) -> None:
    updates, rows = np.stack([d for d, _ in players]), [rows for _, rows in players]
    ahead, back = valued(Bowl(updates, aim, bend), rows), valued(Bowl(updates[::-1], aim, bend), rows[::-1])
    assert np.allclose(ahead.values_nanos, back.values_nanos[::-1], atol=2)


@given(rounds, vectors, st.floats(0, 1, width=32))
@settings(max_examples=30, deadline=None)
def test_null_player_who_moves_nothing_gets_nothing(players: list[tuple[Array, int]], aim: Array, bend: float) -> None:
    updates = np.stack([np.zeros(SIZE), *(d for d, _ in players)])
    found = valued(Bowl(updates, aim, bend), [7, *(rows for _, rows in players)])
    assert found.values_nanos[0] == 0


@pytest.mark.parametrize("stay", [True, False])
@given(rounds, vectors, st.integers(2, 20), st.floats(0, 1, width=32))
@settings(max_examples=30, deadline=None)
def test_names_cutting_one_shard_changes_no_sum(
    stay: bool, players: list[tuple[Array, int]], aim: Array, names: int, bend: float
) -> None:
    """One delta of `names` times as many rows, or as many names with the same delta: no sum and nobody else moves."""
    first, *others = [d for d, _ in players]
    rows = [rows for _, rows in players[1:]]
    whole = valued(Bowl(np.stack([first, *others]), aim, bend), [3 * names, *rows], stay=stay)
    cut = valued(Bowl(np.stack([*[first] * names, *others]), aim, bend), [3] * names + rows, stay=stay)
    if not stay and min(map(abs, whole.values_nanos)) < 1_000:
        return  # who is worth nearly nothing may stay in one and leave in the other, by rounding
    assert sum(cut.values_nanos[:names]) == pytest.approx(whole.values_nanos[0], abs=50 * names)
    assert np.allclose(cut.values_nanos[names:], whole.values_nanos[1:], atol=50 * names)


def test_harmful_players_leave_and_the_rest_is_valued_without_them() -> None:
    updates = np.array([np.ones(SIZE), 2 * np.ones(SIZE), -3 * np.ones(SIZE)])
    found = valued(Bowl(updates, np.ones(SIZE)), [10, 10, 10], stay=False)
    alone = valued(Bowl(updates[:2], np.ones(SIZE)), [10, 10], stay=False)
    assert [p.members for p in found.passes] == [(0, 1, 2), (0, 1)]
    assert found.values_nanos[:2] == alone.values_nanos
    assert found.values_nanos[2] == path_values(found.passes[0])[2] < 0
    assert sum(found.values_nanos[:2]) == found.passes[1].gain_nanos


def test_nobody_is_left_if_all_are_harmful() -> None:
    found = valued(Bowl(-np.ones((3, SIZE)), np.ones(SIZE)), [1, 2, 3], stay=False)
    assert len(found.passes) == 1
    assert max(found.values_nanos) < 0
    assert values_of_passes(found.passes, 3, stay=False) == found.values_nanos


def test_passes_end_however_many_leave_one_by_one() -> None:
    """Each pass turns the last of those who are left negative."""

    class Spiteful(Bowl):
        def slopes(self, shares: Sequence[Array]) -> list[Array]:
            last = int(np.flatnonzero(shares[0][1:])[-1])
            signs = np.where(np.arange(len(self.updates)) == last, -1.0, 1.0)
            return [np.tile(signs, (SIZE, 1)) for _ in shares]

        def gain(self, shares: Array) -> float:
            return float(shares[1:].sum())

    found = valued(Spiteful(np.ones((20, SIZE)), np.ones(SIZE)), [1] * 20, stay=False)
    assert len(found.passes) == PATH_PASSES
    assert values_of_passes(found.passes, 20, stay=False) == found.values_nanos


def test_standard_error_is_that_of_the_rows_own_values() -> None:
    draw = np.random.default_rng(5)
    updates, aim = draw.normal(size=(3, SIZE)), draw.normal(size=SIZE)
    found = valued(Bowl(updates, aim), [10, 20, 30])
    parts = updates * (np.array(found.passes[0].units) / STEP_UNITS)[:, None]
    rows = (aim - parts.sum(axis=0) / 2) * parts
    assert np.allclose(found.errors, rows.std(axis=1, ddof=1) / math.sqrt(SIZE), rtol=1e-6)


def test_path_values_a_jump_between_the_nodes_is_not_paid() -> None:
    """Slopes that nearly cancel, and a loss that falls by 50 nats where no node looks: nobody earns thousands."""
    big = tuple([10**9] * 4)
    less = tuple([1 - 10**9] * 4)
    found = PathPass((0, 1), (1, 1), (big, less), gain_nanos=50 * NANOS)
    values = path_values(found)
    assert abs(values[0]) <= 2 * 10**9
    assert sum(values) < found.gain_nanos


def test_path_values_flat_loss_gives_nobody_anything() -> None:
    assert path_values(PathPass((0, 1), (1, 1), ((0,) * 4, (0,) * 4), gain_nanos=0)) == (0, 0)


def test_nodes_integrate_the_seventh_degree_exactly() -> None:
    for power in range(8):
        found = math.fsum(w * node**power for w, node in zip(PATH_WEIGHTS, PATH_NODES, strict=True))
        assert found == pytest.approx(1 / (power + 1), abs=1e-15)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 2**28)), min_size=1, max_size=20))
def test_capped_units_never_exceed_the_whole_nor_the_part_of_the_rows(members: list[tuple[float, int]]) -> None:
    norms, rows = [norm for norm, _ in members], [count for _, count in members]
    units = capped_units(norms, rows)
    assert sum(units) <= STEP_UNITS
    assert all(0 <= u <= STEP_UNITS * count // sum(rows) for u, count in zip(units, rows, strict=True))


def test_capped_units_long_updates_are_shortened_to_the_median_row() -> None:
    units = capped_units([1.0, 2.0, 4.0, 0.0], [10, 10, 10, 10])
    quarter = STEP_UNITS // 4
    assert units == (quarter, quarter, quarter // 2, quarter)
    assert capped_units([0.0, 0.0], [1, 3]) == (STEP_UNITS // 4, 3 * STEP_UNITS // 4)


def test_values_of_passes_refuses_other_records() -> None:
    updates = np.array([np.ones(SIZE), 2 * np.ones(SIZE), -3 * np.ones(SIZE)])
    passes = valued(Bowl(updates, np.ones(SIZE)), [10, 10, 10], stay=False).passes
    assert len(passes) == 2
    first, second = passes
    forged: dict[str, list[PathPass]] = {
        "there is no pass": [first],
        "pass 1 values other players": [second],
        "pass 2 values other players": [first, first],
        "pass 3 values other players": [first, second, second],
        "does not have 4 slopes": [replace(first, slopes_nanos=tuple(row[:3] for row in first.slopes_nanos)), second],
    }
    for reason, record in forged.items():
        with pytest.raises(GameError, match=reason):
            values_of_passes(record, 3, stay=False)
    with pytest.raises(GameError, match="there is no pass"):
        values_of_passes([], 3, stay=False)
