"""What Shapley proved of his value, and what of it an estimate keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incentives.semivalues import estimate
from tests.incentives.table_games import Table, coalitions_of

INDICES = ["shapley", "banzhaf", "beta(4,1)", "leave_one_out"]
PLAYERS = 5

numbers = st.floats(-100, 100, allow_nan=False, width=32)
tables = st.lists(numbers, min_size=2**PLAYERS, max_size=2**PLAYERS).map(lambda v: np.array([0.0, *v[1:]]))


def exact(values: np.ndarray, index: str) -> np.ndarray:
    return Table(values).exact(index)


@given(tables)
@settings(max_examples=40, deadline=None)
def test_efficiency_shapley_values_add_up_to_the_grand_coalition(values):
    assert exact(values, "shapley").sum() == pytest.approx(values[-1], abs=1e-9)


@given(tables, st.sampled_from(INDICES))
@settings(max_examples=40, deadline=None)
def test_symmetry_swapped_players_swap_values(values, index):
    rows = coalitions_of(PLAYERS)
    swapped = values[rows[:, [1, 0, 2, 3, 4]] @ (1 << np.arange(PLAYERS))]
    np.testing.assert_allclose(exact(swapped, index), exact(values, index)[[1, 0, 2, 3, 4]], atol=1e-9)


@given(tables, st.sampled_from(INDICES))
@settings(max_examples=40, deadline=None)
def test_null_player_who_changes_nothing_gets_nothing(values, index):
    without = values[np.arange(2**PLAYERS) & ~1]
    assert exact(without, index)[0] == pytest.approx(0.0, abs=1e-9)


@given(tables, tables, numbers, st.sampled_from(INDICES))
@settings(max_examples=40, deadline=None)
def test_linearity_values_of_a_sum_are_sums_of_values(left, right, factor, index):
    together = exact(left + factor * right, index)
    np.testing.assert_allclose(together, exact(left, index) + factor * exact(right, index), atol=1e-7)


@given(tables, st.lists(st.floats(0, 10, width=32), min_size=2**PLAYERS, max_size=2**PLAYERS), st.sampled_from(INDICES))
@settings(max_examples=40, deadline=None)
def test_monotonicity_larger_marginal_contributions_never_lower_a_value(values, gains, index):
    # Only coalitions with player 0 gain, so none of its marginal contributions falls.
    better = values + np.where(np.arange(2**PLAYERS) & 1, gains, 0.0)
    assert exact(better, index)[0] >= exact(values, index)[0] - 1e-9


@given(st.integers(0, 2**32 - 1), st.sampled_from(["auto", "kernelshap", "permutation", "antithetic"]))
@settings(max_examples=30, deadline=None)
def test_efficiency_holds_for_estimates_too(number, method):
    values = np.random.default_rng(number).normal(size=2**8)
    result = estimate(Table(values), n_players=8, budget=150, seed=number.to_bytes(4, "big"), method=method)
    assert result.values.sum() == pytest.approx(values[-1] - values[0], abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(-5, 5, width=32), st.floats(0.125, 8, width=32))
@settings(max_examples=30, deadline=None)
def test_auto_follows_scale_and_shift_of_the_game(number, shift, scale):
    values = np.random.default_rng(number).normal(size=2**8)
    plain = estimate(Table(values), n_players=8, budget=150, seed=b"s")
    moved = estimate(Table(scale * values + shift), n_players=8, budget=150, seed=b"s")
    np.testing.assert_allclose(moved.values, scale * plain.values, atol=1e-6)
    np.testing.assert_allclose(moved.standard_errors, scale * plain.standard_errors, atol=1e-6)
