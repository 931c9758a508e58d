"""Values that a task can pay by, and the estimators of a round's game: which of them each gives, and what it needs.

`incentives.semivalues` computes semivalues, `incentives.path` the integral; a test holds both together.
"""

from __future__ import annotations

from typing import Literal

from deltaproof.protocol.rules import EXACT_PLAYERS, PATH_NODES

__all__ = [
    "Estimator",
    "IndexName",
    "SemivalueName",
    "estimator_for",
    "evaluations_needed",
    "evaluations_spent",
    "why_not_estimated",
]

Estimator = Literal[
    "auto",
    "exact",
    "kernelshap",
    "permutation",
    "antithetic",
    "truncated",
    "gtg",
    "svarm",
    "stratified",
]
"""Ways to estimate a semivalue (`incentives.semivalues`)."""
SemivalueName = Literal["shapley", "banzhaf", "beta_shapley", "leave_one_out"]
"""Semivalues of the round's game."""
IndexName = Literal[SemivalueName, "aumann_shapley"]
"""Values that a task can pay by: semivalues, and the Aumann-Shapley value of the step (docs/protocol/scores.md)."""


def why_not_estimated(method: Estimator, index: IndexName) -> str | None:
    """Why an estimator does not give a value; None if it does."""
    if index == "aumann_shapley" and method != "auto":
        return f"aumann_shapley is an integral over gradients; there are no coalitions for {method} to ask for"
    if index == "leave_one_out" and method not in {"auto", "exact"}:
        return f"leave_one_out takes one evaluation a player; there is nothing for {method} to sample"
    if method in {"kernelshap", "gtg"} and index != "shapley":
        return f"{method} estimates the Shapley value only, not {index}"
    if method == "truncated" and index == "banzhaf":
        return "truncated assumes that large coalitions matter little; banzhaf weighs all sizes alike"
    return None


def evaluations_needed(method: Estimator, index: IndexName, players: int) -> int:
    """Coalition evaluations that pay for values of so many players and their standard errors, whatever the game.

    With all 2^players values are exact by any estimator. `auto` needs the fewest in large games, players + 3;
    leave-one-out is computed from players + 1. The integral asks for no coalition.
    """
    if index == "aumann_shapley":
        return 1
    every = 1 << min(players, EXACT_PLAYERS + 1)  # of more players nobody enumerates all coalitions
    if index == "leave_one_out":
        return players + 1
    needs = {
        "auto": max(6, players + 3),
        "exact": every,
        "kernelshap": 2 * players + 2,
        "permutation": 2 * players,
        "antithetic": 4 * players - 2,
        "truncated": 2 * players,
        "gtg": 2 * players,
        "svarm": 2 * players + 4,
        "stratified": 4 * players**2,
    }
    return min(needs[method], every)


def evaluations_spent(method: Estimator, index: IndexName, budget: int, players: int) -> int:
    """What values of so many players cost at most, in evaluations of the validation set.

    A gradient counts as three. Of an integral's passes two are counted: more are rare.
    """
    if index == "aumann_shapley":
        return 2 * (3 * len(PATH_NODES) + 1)
    return min(estimator_for(method, index, budget, players)[1], 1 << min(players, 32))


def estimator_for(method: Estimator, index: IndexName, budget: int, players: int) -> tuple[Estimator, int]:
    """The estimator and the budget that a game of so many players is scored with.

    They are the task's where its budget pays for its estimator. Else `auto` takes over, with as many evaluations more
    as it needs: who comes to a task must not be able to leave its verifiers without a score.
    """
    if budget >= evaluations_needed(method, index, players):
        return method, budget
    return "auto", max(budget, evaluations_needed("auto", index, players))
