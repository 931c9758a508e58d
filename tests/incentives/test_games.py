"""Closed forms against the definition: a sum over all coalitions."""

import numpy as np
import pytest

from incentives import games
from incentives.semivalues import estimate

GAMES = [
    games.Additive((0.3, -1.0, 2.0, 0.0, 0.5, 7.0)),
    games.Airport((1.0, 1.0, 2.5, 4.0, 4.0, 9.0, 0.0)),
    games.Unanimity(7, ((0, 1), (2, 3, 4), (0, 2, 4, 6), (5,)), (1.0, -2.0, 4.0, 0.5)),
    games.Gloves(2, 5),
    games.Gloves(4, 3),
    games.WeightedVoting((4, 3, 2, 1, 1, 5), 9),
    games.Saturating((0.1, 0.9, 0.0, 0.4, 1.0, 0.3)),
    games.AveragedQuadratic(((1.0, 0.2), (0.5, -1.0), (2.0, 2.0), (0.0, 0.1), (1.0, 1.0)), (0.8, 0.4)),
]


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
@pytest.mark.parametrize("index", ["shapley", "banzhaf", "beta(4,1)", "beta(1,16)", "leave_one_out"])
def test_semivalues_closed_form_equals_sum_over_all_coalitions(game, index):
    by_definition = estimate(game, n_players=game.n_players, budget=2**game.n_players, seed=b"any", index=index)
    assert by_definition.method == "exact"
    np.testing.assert_allclose(game.semivalues(index), by_definition.values, atol=1e-12)


def test_semivalues_gloves_against_literature():
    # One left glove, two right ones: Shapley values 4/6, 1/6, 1/6.
    np.testing.assert_allclose(games.Gloves(1, 2).semivalues("shapley"), [4 / 6, 1 / 6, 1 / 6])


def test_semivalues_voting_against_literature():
    # Shapley and Shubik's [5; 3, 2, 1, 1]: 7/12, 3/12, 1/12, 1/12; Banzhaf 5/8, 3/8, 1/8, 1/8.
    vote = games.WeightedVoting((3, 2, 1, 1), 5)
    np.testing.assert_allclose(vote.semivalues("shapley"), np.array([7, 3, 1, 1]) / 12)
    np.testing.assert_allclose(vote.semivalues("banzhaf"), np.array([5, 3, 1, 1]) / 8)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_call_empty_coalition_is_worth_nothing(game):
    assert game(np.zeros((1, game.n_players), dtype=bool)) == 0.0
