"""The entry point: what it accepts, what it never does, and that its bits depend on nothing but the arguments."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from incentives import games
from incentives.semivalues import (
    METHODS,
    BudgetError,
    GameError,
    RayMapper,
    ScoringError,
    UnknownIndexError,
    UnknownMethodError,
    canonical_name,
    estimate,
)
from tests.incentives.table_games import Table, averaged, hashed

SAMPLERS = [method for method in METHODS if method != "exact"]
SEED = bytes(32)


def run(game, **changes):
    arguments = {"n_players": 8, "budget": 150, "seed": SEED} | changes
    return estimate(game, **arguments)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("budget", [140, 200, 255])
def test_estimate_any_method_stays_within_budget_and_asks_nothing_twice(method, budget):
    game = averaged(8, 0)
    result = run(game, method=method, budget=budget)
    assert len(game.asked) == len(set(game.asked)) == result.evaluations <= budget
    assert result.method == method
    assert result.values.shape == result.standard_errors.shape == (8,)
    assert (result.standard_errors > 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_estimate_budget_of_all_coalitions_is_exact(method):
    game = averaged(6, 1)
    result = run(game, n_players=6, budget=64, method=method)
    assert result.method == "exact"
    assert result.evaluations == 64
    assert not result.standard_errors.any()


@pytest.mark.parametrize("budget", range(1, 40))
@pytest.mark.parametrize("method", SAMPLERS)
def test_estimate_tiny_budget_answers_or_says_so(method, budget):
    game = averaged(8, 2)
    try:
        result = run(game, budget=budget, method=method)
    except BudgetError:
        result = None
    assert len(game.asked) <= budget
    if result is not None:
        assert np.isfinite(result.values).all()
        assert np.isfinite(result.standard_errors).all()


@pytest.mark.parametrize("method", SAMPLERS)
def test_estimate_large_budget_approaches_closed_form(method):
    game = games.Saturating((0.02, 0.1, 0.3, 0.05, 0.2, 0.15, 0.4, 0.08, 0.12, 0.25, 0.05, 0.3))
    exact = game.semivalues("shapley")
    result = estimate(game, n_players=12, budget=3000, seed=SEED, method=method)
    bias = result.diagnostics.get("tolerance", 0.0)
    assert np.abs(result.values - exact).mean() < 0.06 * exact.mean() + bias
    assert (np.abs(result.values - exact) <= 4 * result.standard_errors + bias).all()


@pytest.mark.parametrize("index", ["banzhaf", "beta(4,1)", "beta(1,4)"])
@pytest.mark.parametrize("method", ["auto", "permutation", "antithetic", "svarm", "stratified"])
def test_estimate_other_indices_approach_closed_form(method, index):
    game = games.Saturating((0.02, 0.1, 0.3, 0.05, 0.2, 0.15, 0.4, 0.08, 0.12, 0.25, 0.05, 0.3))
    exact = game.semivalues(index)
    result = estimate(game, n_players=12, budget=3000, seed=SEED, method=method, index=index)
    assert (np.abs(result.values - exact) <= 4.5 * result.standard_errors).all()


def test_estimate_leave_one_out_needs_n_plus_one_coalitions():
    game = averaged(8, 3)
    result = run(game, index="leave_one_out", budget=9)
    assert result.evaluations == 9
    full = 255
    np.testing.assert_array_equal(result.values, [game.values[full] - game.values[full ^ 1 << i] for i in range(8)])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"index": "owen"}, UnknownIndexError),
        ({"index": "beta(0,1)"}, UnknownIndexError),
        ({"index": "beta(1)"}, UnknownIndexError),
        ({"method": "magic"}, UnknownMethodError),
        ({"method": "kernelshap", "index": "banzhaf"}, UnknownMethodError),
        ({"method": "gtg", "index": "beta(4,1)"}, UnknownMethodError),
        ({"method": "truncated", "index": "banzhaf"}, UnknownMethodError),
        ({"method": "svarm", "index": "leave_one_out"}, UnknownMethodError),
        ({"method": "exact"}, BudgetError),
        ({"index": "leave_one_out", "budget": 8}, BudgetError),
        ({"budget": 0}, ScoringError),
        ({"workers": 0}, ScoringError),
        ({"seed": b""}, ScoringError),
        ({"seed": 7}, ScoringError),
        ({"weights": np.ones(7)}, ScoringError),
        ({"weights": [1, 1, 1, 1, 0, 1, 1, 1]}, ScoringError),
        ({"weights": [1, 1, 1, 1, np.nan, 1, 1, 1]}, ScoringError),
    ],
)
def test_estimate_nonsense_is_a_clear_error(changes, error):
    with pytest.raises(error):
        run(averaged(8, 0), **changes)


@pytest.mark.parametrize(
    "broken",
    [
        lambda z: np.full(len(z), np.nan),
        lambda z: np.zeros(len(z) + 1),
        lambda z: np.zeros((len(z), 1)),
        lambda z: np.zeros(len(z), dtype=np.float32),
        lambda z: [0.0] * len(z),
    ],
)
def test_estimate_broken_game_is_refused(broken):
    with pytest.raises(GameError):
        run(broken)


def test_canonical_name_beta_one_one_is_shapley():
    assert canonical_name(" Beta(1, 1) ") == "shapley"
    assert canonical_name("BETA(4,1)") == "beta(4,1)"


def test_estimate_batches_do_not_exceed_batch_size_and_fill_it():
    game = averaged(8, 0)
    run(game, batch_size=50)
    assert max(game.batches) == 50
    assert len(game.batches) <= 4


@pytest.mark.parametrize("method", SAMPLERS)
def test_estimate_workers_do_not_change_a_bit(method):
    game = averaged(8, 4)
    alone = run(game, method=method)
    with ThreadPoolExecutor(8) as pool:
        pooled = run(game, method=method, executor=pool)
    assert alone.values.tobytes() == pooled.values.tobytes()
    assert alone.standard_errors.tobytes() == pooled.standard_errors.tobytes()


@pytest.mark.parametrize("workers", [2, 8])
def test_estimate_worker_processes_do_not_change_a_bit(workers):
    game = games.AveragedQuadratic(tuple((float(i), 1.0 / (1 + i)) for i in range(8)), (3.0, 0.5))
    assert run(game).values.tobytes() == run(game, workers=workers).values.tobytes()


def test_estimate_ray_does_not_change_a_bit():
    ray = pytest.importorskip("ray")
    game = games.AveragedQuadratic(tuple((float(i), 1.0 / (1 + i)) for i in range(8)), (3.0, 0.5))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        result = run(game, executor=RayMapper())
    finally:
        ray.shutdown()
    assert run(game).values.tobytes() == result.values.tobytes()


def test_estimate_seed_decides_the_draws():
    game = hashed(8)
    assert run(game).values.tobytes() == run(game).values.tobytes()
    assert run(game).values.tobytes() != run(game, seed=b"\x01" * 32).values.tobytes()


PROBE = """
import json, sys
sys.path[:0] = {paths!r}
from tests.incentives.table_games import averaged, hashed
from incentives.games import Additive
from incentives.semivalues import METHODS, estimate
bits = {{}}
for method in METHODS[:1] + METHODS[2:]:
    for game in (hashed(10), averaged(10, 0), Additive((0.1, 0.2, 0.3, 0.5, 0.7, 1.1, -0.4, 0.0, 1.3, 0.6))):
        weights = [1, 2, 1, 3, 1, 2, 1, 1, 5, 1]
        result = estimate(game, n_players=10, budget=400, seed=bytes(32), method=method, weights=weights)
        bits.setdefault(method, []).append([v.hex() for v in (*result.values, *result.standard_errors)])
print(json.dumps(bits))
"""


def test_estimate_bits_do_not_depend_on_blas_kernels_threads_or_simd():
    paths = [os.getcwd()]
    settings = [
        {"OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Nehalem"},
        {"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX2 FMA3"},
    ]
    answers = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", PROBE.format(paths=paths)],
                env=os.environ | setting,
                capture_output=True,
                text=True,
                check=True,
                timeout=300,
            ).stdout
        )
        for setting in settings
    ]
    assert answers[0] == answers[1] == answers[2]


def test_table_rows_follow_bits():
    assert Table(np.arange(4.0))(np.array([[True, False], [False, True]])).tolist() == [1.0, 2.0]
