"""The default estimator: accuracy where its surrogate fits, honesty where it does not."""

import numpy as np
import pytest

from incentives import games
from incentives.semivalues import estimate
from incentives.semivalues._design import pair_design
from incentives.semivalues._index import semivalue_by_name
from incentives.semivalues._integrate import coefficients, rule
from incentives.semivalues._kernel_index import _by_size
from incentives.semivalues._kernels import KERNELS, gram, points
from incentives.semivalues._linalg import inverse_root, product
from incentives.semivalues._refinement import refined
from incentives.semivalues._stream import Stream
from incentives.semivalues._surrogate import Sample, choices, fit
from tests.incentives.table_games import Table, averaged, coalitions_of, hashed


def relative_error(result, exact):
    return np.abs(result.values - exact).mean() / np.abs(exact).mean()


def test_auto_averaging_game_is_several_times_better_than_kernelshap():
    game = averaged(10, 5)
    exact = game.exact()
    seeds = [bytes([seed]) for seed in range(4)]
    auto = np.mean([relative_error(estimate(game, n_players=10, budget=200, seed=s), exact) for s in seeds])
    kernel = np.mean(
        [relative_error(estimate(game, n_players=10, budget=200, seed=s, method="kernelshap"), exact) for s in seeds]
    )
    assert auto < 0.05
    assert kernel > 3 * auto


def test_auto_uses_aggregation_weights():
    weights = np.array([1, 9, 1, 4, 1, 1, 7, 1, 2, 1.0])
    game = averaged(10, 6, weights)
    exact = game.exact()
    told, untold = (estimate(game, n_players=10, budget=200, seed=b"w", weights=w) for w in (weights, None))
    assert relative_error(told, exact) < 0.06
    assert relative_error(told, exact) < relative_error(untold, exact)


@pytest.mark.parametrize(
    "game",
    [
        averaged(10, 7),
        hashed(10),
        games.Gloves(3, 7),
        games.WeightedVoting((3, 1, 4, 1, 5, 2, 2, 5, 3, 4), 17),
        games.Unanimity(10, ((0, 1, 2), (2, 3, 4, 5), (1, 6, 7, 8, 9), (0, 4, 8)), (1.0, -2.0, 3.0, 1.5)),
        games.Airport((0.1, 0.4, 0.4, 0.5, 0.9, 1.3, 2.0, 2.0, 2.1, 5.0)),
    ],
    ids=["averaged", "hashed", "gloves", "voting", "teams", "airport"],
)
@pytest.mark.parametrize("budget", [100, 200, 400])
def test_auto_intervals_cover_also_where_no_surrogate_fits(game, budget):
    exact = game.exact() if hasattr(game, "exact") else game.semivalues("shapley")
    covered = []
    for seed in range(6):
        result = estimate(game, n_players=10, budget=budget, seed=bytes([seed]))
        covered.append((np.abs(result.values - exact) <= 1.96 * result.standard_errors).mean())
    # Ten correlated players and six seeds: a game that truly covers 90 % stays above 0.75.
    assert np.mean(covered) > 0.75


def two_layer(seed):
    """Averaged two-layer networks by weight: not convex in the mean."""
    rng = np.random.default_rng(seed)
    rows, first, second = rng.normal(size=(200, 5)), rng.normal(size=(10, 5, 8)), rng.normal(size=(10, 8)) / 3
    target, weights = np.tanh(rows @ first[0]) @ second[0], rng.integers(1, 6, 10)
    values = np.zeros(1024)
    for row, members in enumerate(coalitions_of(10)[1:], start=1):
        share = members * weights / (members * weights).sum()
        answer = np.tanh(rows @ np.tensordot(share, first, 1)) @ (share @ second)
        values[row] = (target**2).mean() - ((answer - target) ** 2).mean()
    return Table(values)


def medians(seed):
    """Robust aggregation: the coordinate-wise median of the members' deltas, one of them hostile."""
    rng = np.random.default_rng(seed)
    deltas = rng.normal(1.0, 1.0, (10, 6))
    deltas[3] *= -4.0
    values = np.zeros(1024)
    for row, members in enumerate(coalitions_of(10)[1:], start=1):
        values[row] = 6.0 - ((np.median(deltas[members], axis=0) - 1.0) ** 2).sum()
    return Table(values)


@pytest.mark.parametrize("family", [two_layer, medians])
def test_auto_intervals_cover_on_families_never_used_for_design(family):
    covered = []
    for number in (1, 2):
        game = family(number)
        exact = game.exact()
        for budget in (100, 200, 500):
            for seed in range(3):
                result = estimate(game, n_players=10, budget=budget, seed=bytes([seed]))
                covered.append((np.abs(result.values - exact) <= 1.96 * result.standard_errors).mean())
    assert np.mean(covered) >= 0.9


def test_auto_strong_synergy_has_a_wide_interval():
    smooth = estimate(averaged(10, 8), n_players=10, budget=200, seed=b"a")
    rough = estimate(hashed(10), n_players=10, budget=200, seed=b"a")
    width = [(r.standard_errors / np.abs(r.values).mean()).mean() for r in (smooth, rough)]
    assert width[1] > 5 * width[0]


@pytest.mark.parametrize("index", ["shapley", "banzhaf", "beta(4,1)"])
def test_auto_many_players(index):
    rng = np.random.default_rng(3)
    game = games.AveragedQuadratic(tuple(map(tuple, rng.normal(1, 1, (40, 5)).tolist())), (1.0,) * 5)
    exact = game.semivalues(index)
    result = estimate(game, n_players=40, budget=800, seed=b"many", index=index)
    assert (np.abs(result.values - exact) <= 1.96 * result.standard_errors).mean() >= 0.85
    assert np.corrcoef(result.values, exact)[0, 1] > 0.9


@pytest.mark.parametrize(("players", "budget"), [(2, 3), (3, 7), (4, 8), (5, 30), (7, 127), (120, 240)])
def test_auto_odd_sizes(players, budget):
    game = games.Saturating((0.3,) * players)
    try:
        result = estimate(game, n_players=players, budget=budget, seed=b"odd", weights=range(1, players + 1))
    except Exception as error:
        assert type(error).__name__ == "BudgetError"  # noqa: PT017
        assert budget < max(6, players + 3)
    else:
        assert np.isfinite(result.values).all()
        assert result.evaluations <= budget


def test_pair_design_probabilities_are_the_frequencies():
    index = semivalue_by_name("shapley", 6)
    counts = np.zeros(64)
    claimed = np.zeros(64)
    for seed in range(3000):
        design = pair_design(index, 30, Stream(seed.to_bytes(4, "big"), "test"))
        rows = design.coalitions @ (1 << np.arange(6))
        assert len(set(rows.tolist())) == len(rows) <= 30
        assert (design.coalitions[2::2] == ~design.coalitions[3::2]).all()
        counts[rows] += 1
        claimed[rows] = design.probability
    np.testing.assert_allclose(counts / 3000, claimed, atol=0.04)


def test_refined_design_goes_where_residuals_are_and_stays_distinct():
    index = semivalue_by_name("shapley", 9)
    first = pair_design(index, 60, Stream(b"first", "test"))
    sizes = first.coalitions.sum(axis=1)
    rows = np.arange(1, len(sizes))
    shares = []
    for rough in (2, 7):
        residuals = np.where(sizes[rows] == rough, 1.0, 0.01)
        design = refined(first, index, 120, rows, residuals, 1e-9, Stream(b"more", "test"))
        codes = design.coalitions @ (1 << np.arange(9))
        assert len(set(codes.tolist())) == len(codes)
        assert 118 <= len(codes) <= 120
        assert (design.coalitions[: len(sizes)] == first.coalitions).all()
        assert (design.probability > 0).all()
        assert (design.probability <= 1).all()
        shares.append((design.coalitions[len(sizes) :].sum(axis=1) == rough).mean())
    assert min(shares) > 0.3


def test_refined_design_probabilities_are_the_frequencies():
    index = semivalue_by_name("shapley", 7)
    counts, claimed = np.zeros(128), np.zeros(128)
    for seed in range(1000):
        first = pair_design(index, 40, Stream(seed.to_bytes(4, "big"), "test"))
        rows = np.arange(1, len(first.coalitions))
        residuals = 1.0 / first.coalitions.sum(axis=1)[rows]
        design = refined(first, index, 64, rows, residuals, 1e-9, Stream(seed.to_bytes(4, "big"), "more"))
        codes = design.coalitions @ (1 << np.arange(7))
        counts[codes] += 1
        claimed[codes] += design.probability
    # Given that a coalition is drawn its size has drawn a little more than usual: that much the claim lies above.
    np.testing.assert_allclose(counts / 1000, claimed / counts, atol=0.06)


@pytest.mark.parametrize("players", [2, 5, 8])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["shapley", "banzhaf", "beta(4,1)"])
def test_kernel_index_closed_form_equals_all_coalitions(players, kernel, name):
    index = semivalue_by_name(name, players)
    rows = coalitions_of(players)
    matrix = gram(kernel, points(rows, np.ones(players)), points(rows, np.ones(players)))
    matrix[0] = 0.0
    of_member, of_outsider = _by_size(kernel, name, players)
    sizes = rows.sum(axis=1)
    closed = np.where(rows.T, of_member[sizes], of_outsider[sizes])
    np.testing.assert_allclose(closed[:, 1:], (coefficients(rows, index).T @ matrix)[:, 1:], atol=1e-12)


@pytest.mark.parametrize("name", ["shapley", "beta(4,1)"])
def test_rule_integrates_a_smooth_game_within_its_error(name):
    index = semivalue_by_name(name, 20)
    game = games.Saturating(tuple(np.linspace(0.02, 0.4, 20).tolist()))
    nodes = rule(index)
    values = game(nodes.nodes)
    error = np.abs(nodes.weights.T @ values - game.semivalues(name))
    assert (error <= 4 * nodes.error(values) + 1e-6).all()
    assert error.mean() < 0.02 * game.semivalues(name).mean()


def test_surrogate_left_out_residuals_are_those_of_a_refit():
    rng = np.random.default_rng(0)
    distinct = coalitions_of(7)[1 + rng.permutation(63)[:16]]
    rows = np.vstack([np.ones((1, 7), bool), *[[half, ~half] for half in distinct[:12]], distinct[12:]])
    values = rng.normal(size=len(rows))
    sample = Sample(points(rows, np.ones(7)), values, np.ones(len(rows)), 12)
    choice = choices(sample, KERNELS)[0]
    whole = fit(sample, choice.kernel, choice.ridge)
    np.testing.assert_allclose(whole.left_out, choice.left_out, rtol=1e-6, atol=1e-8)
    for gone in ([3, 4], [0], [26]):
        kept = np.delete(np.arange(len(rows)), gone)
        matrix = (whole.matrix + whole.ridge * np.eye(len(rows)))[np.ix_(kept, kept)]
        inverse = np.linalg.inv(matrix)
        constant = inverse.sum(axis=0) @ values[kept] / inverse.sum()
        predicted = constant + whole.matrix[gone][:, kept] @ inverse @ (values[kept] - constant)
        np.testing.assert_allclose(whole.left_out[gone], values[gone] - predicted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("limit", [1, 2, 8, 11, 100])
def test_sample_part_keeps_the_full_coalition_and_whole_pairs(limit):
    rng = np.random.default_rng(4)
    halves = rng.random((10, 6)) < 0.5
    rows = np.vstack([np.ones((1, 6), bool), *[[half, ~half] for half in halves], rng.random((9, 6)) < 0.5])
    sample = Sample(points(rows, np.ones(6)), rng.normal(size=30), np.ones(30), 10)
    kept, part = sample.part(limit)
    assert kept[0] == 0
    assert len(part) == len(kept) == len(set(kept.tolist())) <= max(1, limit)
    pairs = kept[1 : 1 + 2 * part.pairs].reshape(-1, 2)
    assert (rows[pairs[:, 0]] == ~rows[pairs[:, 1]]).all()
    assert (kept[1 + 2 * part.pairs :] > 20).all()
    np.testing.assert_array_equal(part.values, sample.values[kept])
    assert limit < 30 or len(part) == 30


def test_product_order_of_terms_does_not_matter_within_a_chunk():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(50, 100)), rng.normal(size=(100, 40))
    shuffled = rng.permutation(100)
    assert product(left, right).tobytes() == product(left[:, shuffled], right[shuffled]).tobytes()
    np.testing.assert_allclose(product(left, right), left @ right, atol=1e-10)


@pytest.mark.parametrize("size", [1, 31, 33, 150])
def test_inverse_root_inverts(size):
    rng = np.random.default_rng(2)
    factor = rng.normal(size=(size, 2 * size))
    matrix = factor @ factor.T / size
    root = inverse_root(matrix)
    np.testing.assert_allclose(root.T @ root @ matrix, np.eye(size), atol=1e-8)
    with pytest.raises(np.linalg.LinAlgError):
        inverse_root(matrix - 10 * np.eye(size))
