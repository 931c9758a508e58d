"""The spec's names of estimators, and what it says they need, against the estimators themselves."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from deltaproof.protocol.terms.estimators import (
    Estimator,
    SemivalueName,
    estimator_for,
    evaluations_needed,
    evaluations_spent,
    why_not_estimated,
)
from deltaproof.protocol.terms.spec import ScoringSection
from incentives.semivalues import METHODS, BudgetError, UnknownMethodError, estimate
from incentives.semivalues._result import Bools, Floats
from incentives.valuation import scores_from_table

INDICES = {"shapley": "shapley", "banzhaf": "banzhaf", "beta_shapley": "beta(4,2)", "leave_one_out": "leave_one_out"}
PAIRS = [(method, index) for method in get_args(Estimator) for index in get_args(SemivalueName)]
SEED = b"estimators"


def game(coalitions: Bools) -> Floats:
    """Additive, with a rough part that no estimator can guess."""
    weights = np.arange(1, coalitions.shape[1] + 1) / 10
    rough = np.sin(7.0 * coalitions.astype(np.float64) @ np.sqrt(weights + 1.0))
    return np.asarray(coalitions @ weights + 0.1 * rough)


def test_spec_names_the_estimators_and_indices_that_exist() -> None:
    assert set(get_args(Estimator)) == set(METHODS)
    assert set(get_args(SemivalueName)) == set(INDICES)


@pytest.mark.parametrize(("method", "index"), PAIRS)
def test_pair_is_refused_by_the_spec_if_the_estimator_refuses_it(method: Estimator, index: SemivalueName) -> None:
    try:
        estimate(game, n_players=5, budget=32, seed=SEED, method=method, index=INDICES[index])
    except UnknownMethodError:
        assert why_not_estimated(method, index)
    else:
        assert why_not_estimated(method, index) is None


@pytest.mark.parametrize(("method", "index"), [pair for pair in PAIRS if not why_not_estimated(*pair)])
@pytest.mark.parametrize("players", [1, 2, 3, 4, 5, 7, 12, 31])
def test_needed_evaluations_pay_for_the_estimator(method: Estimator, index: SemivalueName, players: int) -> None:
    needed = evaluations_needed(method, index, players)
    if method == "exact" and players > 12 and index != "leave_one_out":
        pytest.skip("2^31 coalitions")
    result = estimate(game, n_players=players, budget=max(1, needed), seed=SEED, method=method, index=INDICES[index])
    assert np.isfinite(result.values).all()
    assert np.isfinite(result.standard_errors).all()


@pytest.mark.parametrize("method", get_args(Estimator))
def test_integral_along_the_step_is_estimated_by_nothing(method: Estimator) -> None:
    assert (why_not_estimated(method, "aumann_shapley") is None) == (method == "auto")
    assert evaluations_needed(method, "aumann_shapley", 10_000) == 1
    spent = {evaluations_spent(method, "aumann_shapley", budget, players) for budget in (1, 256) for players in (2, 99)}
    assert len(spent) == 1


@pytest.mark.parametrize("method", ["auto", "exact", "kernelshap", "svarm", "permutation", "antithetic"])
def test_one_evaluation_less_does_not_pay(method: Estimator) -> None:
    """What is said to be needed is no more than that, so that no task is refused without a reason."""
    needed = evaluations_needed(method, "shapley", 7)
    with pytest.raises(BudgetError):
        estimate(game, n_players=7, budget=needed - 1, seed=SEED, method=method)


def test_more_players_than_the_budget_pays_for_are_scored_all_the_same() -> None:
    """Thirty trainers at a budget of 16 ended every verifier with a BudgetError."""
    scoring = ScoringSection(budget=16)
    asked: list[Bools] = []

    def listening(coalitions: Bools) -> Floats:
        asked.append(coalitions)
        return game(coalitions)

    method, budget = estimator_for(scoring.method, scoring.index, scoring.budget, 30)
    estimate(listening, n_players=30, budget=budget, seed=SEED, method=method)
    table = np.concatenate(asked)
    nanos = np.rint(game(table) * 1e9).astype(np.int64).tolist()
    scored = scores_from_table(table, nanos, scoring, SEED)
    assert scored.evaluations <= 33
    assert scored.method == "auto"


@pytest.mark.parametrize("method", get_args(Estimator))
def test_estimator_for_keeps_the_task_s_choice_while_it_is_paid_for(method: Estimator) -> None:
    needed = evaluations_needed(method, "shapley", 9)
    assert estimator_for(method, "shapley", needed, 9) == (method, needed)
    assert estimator_for(method, "shapley", needed - 1, 9) == ("auto", max(12, needed - 1))
