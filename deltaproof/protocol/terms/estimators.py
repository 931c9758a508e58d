"""Estimators of a round's game by name: which semivalues each estimates, and what evaluations it needs.

`incentives.semivalues` computes them; a test holds both together.
"""

from __future__ import annotations

from typing import Literal

from deltaproof.protocol.rules import EXACT_PLAYERS

__all__ = ["Estimator", "SemivalueName", "estimator_for", "evaluations_needed", "why_not_estimated"]

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
"""Semivalues that a task can pay by."""


def why_not_estimated(method: Estimator, index: SemivalueName) -> str | None:
    """Why an estimator does not give a semivalue; None if it does."""
    if index == "leave_one_out" and method not in {"auto", "exact"}:
        return f"leave_one_out takes one evaluation a player; there is nothing for {method} to sample"
    if method in {"kernelshap", "gtg"} and index != "shapley":
        return f"{method} estimates the Shapley value only, not {index}"
    if method == "truncated" and index == "banzhaf":
        return "truncated assumes that large coalitions matter little; banzhaf weighs all sizes alike"
    return None


def evaluations_needed(method: Estimator, index: SemivalueName, players: int) -> int:
    """Coalition evaluations that pay for values of so many players and their standard errors, whatever the game.

    With all 2^players values are exact by any estimator. `auto` needs the fewest in large games, players + 3;
    leave-one-out is computed from players + 1.
    """
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


def estimator_for(method: Estimator, index: SemivalueName, budget: int, players: int) -> tuple[Estimator, int]:
    """The estimator and the budget that a game of so many players is scored with.

    They are the task's where its budget pays for its estimator. Else `auto` takes over, with as many evaluations more
    as it needs: who comes to a task must not be able to leave its verifiers without a score.
    """
    if budget >= evaluations_needed(method, index, players):
        return method, budget
    return "auto", max(budget, evaluations_needed("auto", index, players))
