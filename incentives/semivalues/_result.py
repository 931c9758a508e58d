"""What an estimate is, and how it can fail; `deltaproof.errors` draws the tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from deltaproof.errors import DeltaproofError

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Game: TypeAlias = Callable[[Bools], Floats]
"""bool [coalitions, players] -> float64 [coalitions]; must not depend on how coalitions are grouped into calls."""


class ScoringError(DeltaproofError):
    """Base class of everything that can go wrong in scoring."""


class UnknownIndexError(ScoringError):
    """The index name names no semivalue."""


class UnknownMethodError(ScoringError):
    """The method does not exist, or does not estimate this index."""


class BudgetError(ScoringError):
    """The budget is below what the method needs to say anything."""


class GameError(ScoringError):
    """The game broke its contract: wrong shape, wrong dtype, or a value that is not finite."""


@dataclass(frozen=True)
class Estimate:
    """Values of all players, with what they cost and how far they can be trusted.

    values: float64 [players], in the game's unit.
    standard_errors: float64 [players], same unit; value +- 1.96 of them is meant to cover the exact index in at least
        90 % of cases. Zero where the value is exact.
    evaluations: distinct coalitions the game was asked for; never above the budget.
    method: the method that produced the values ("exact" also when a sampling method was asked for and all 2^N fit).
    diagnostics: method-specific figures (plain floats, ints and strings).
    """

    values: Floats
    standard_errors: Floats
    evaluations: int
    method: str
    diagnostics: Mapping[str, float | int | str] = field(default_factory=dict)
