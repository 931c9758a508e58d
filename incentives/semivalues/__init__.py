"""Semivalues of cooperative games from few evaluations, the same bits for everybody who has the seed.

from incentives.semivalues import estimate

result = estimate(game, n_players=10, budget=200, seed=seed, index="shapley", method="auto", weights=None, workers=1)
result.values, result.standard_errors, result.evaluations, result.method, result.diagnostics
"""

from incentives.semivalues._estimate import METHODS, estimate
from incentives.semivalues._index import INDICES, Semivalue, canonical_name, semivalue_by_name
from incentives.semivalues._oracle import Mapper, RayMapper
from incentives.semivalues._result import (
    BudgetError,
    Estimate,
    Game,
    GameError,
    ScoringError,
    UnknownIndexError,
    UnknownMethodError,
)

__all__ = [
    "INDICES",
    "METHODS",
    "BudgetError",
    "Estimate",
    "Game",
    "GameError",
    "Mapper",
    "RayMapper",
    "ScoringError",
    "Semivalue",
    "UnknownIndexError",
    "UnknownMethodError",
    "canonical_name",
    "estimate",
    "semivalue_by_name",
]
