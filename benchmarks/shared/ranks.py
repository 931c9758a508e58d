"""Comparing many methods over many data sets: ranks, paired intervals and tests, many at once (Demsar 2006).

Legend: N data sets, K methods.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Counts", "Paired", "Ranks", "counted", "holm", "paired", "ranked", "sets_needed"]

CONFIDENCE = 0.95
DIGITS = 9
"""Decimals that tell figures apart: means of the same hits in another order differ behind them."""


@dataclass(frozen=True)
class Ranks:
    """Average rank of each method, 1 the best; two that differ by less than `critical` are not told apart."""

    average: NDArray[np.float64]
    critical: float
    p_value: float
    """Of Friedman's test that all are alike."""


def ranked(quality: NDArray[np.float64]) -> Ranks:
    """Ranks of methods by `quality` [N, K], higher is better; equal ones share their ranks.

    The critical difference is Nemenyi's, q sqrt(K (K + 1) / 6 N) with q of the studentised range over sqrt 2;
    Friedman's statistic, with its correction for ties, is compared as Iman and Davenport do. Raises ValueError for
    fewer than two data sets or two methods.
    """
    size, methods = quality.shape
    if size < 2 or methods < 2:
        raise ValueError(f"{size} data sets and {methods} methods are too few to rank")
    places = np.asarray(stats.rankdata(-np.round(quality, DIGITS), axis=1), np.float64)
    average = places.mean(axis=0)
    middle = (methods + 1) / 2
    between, total = size * float(np.sum((average - middle) ** 2)), float(np.sum((places - middle) ** 2))
    # Without ties `total` is N K (K + 1) (K - 1) / 12, and this the usual 12 / K (K + 1) times `between`.
    friedman = size * (methods - 1) * between / total if total else 0.0
    left = size * (methods - 1) - friedman
    p_value = (
        float(stats.f.sf((size - 1) * friedman / left, methods - 1, (methods - 1) * (size - 1))) if left > 0 else 0.0
    )
    q = float(stats.studentized_range.ppf(CONFIDENCE, methods, np.inf)) / np.sqrt(2)
    return Ranks(average, float(q * np.sqrt(methods * (methods + 1) / (6 * size))), p_value)


@dataclass(frozen=True)
class Paired:
    """Mean difference over data sets, and half of its 95 % interval; infinite for a single data set."""

    mean: float
    half: float
    sets: int
    runs: int
    spread: float
    """Standard deviation between data sets; infinite for a single one."""
    p_value: float
    """Of Student's test that the mean is zero; 1 for a single data set."""


def paired(differences: Sequence[Sequence[float]]) -> Paired:
    """From the differences of each data set, one for each seed: Student's interval over the data sets' means.

    Seeds of one data set are not independent of one another. Raises ValueError for none.
    """
    means = [float(np.mean(found)) for found in differences if len(found)]
    if not means:
        raise ValueError("no difference to average")
    runs = sum(map(len, differences))
    size, mean = len(means), float(np.mean(means))
    if size == 1:
        return Paired(mean, math.inf, 1, runs, math.inf, 1.0)
    spread = float(np.std(means, ddof=1))
    error = spread / math.sqrt(size)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, size - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, size - 1)) if error else float(mean == 0)
    return Paired(mean, half, size, runs, spread, p_value)


@dataclass(frozen=True)
class Counts:
    """On how many data sets the first of two is better, alike and worse, and Wilcoxon's signed-rank test of that."""

    wins: int
    ties: int
    losses: int
    p_value: float


def counted(differences: Sequence[float]) -> Counts:
    """From one difference a data set, above zero where the first is better.

    Alike ones keep their ranks (Pratt 1959), which is the careful choice. Raises ValueError for none.
    """
    if not differences:
        raise ValueError("no difference to count")
    found = np.round(differences, DIGITS)
    wins, losses = int((found > 0).sum()), int((found < 0).sum())
    # scipy takes the exact distribution for few data sets without ties, else the normal one.
    p_value = float(stats.wilcoxon(found, zero_method="pratt").pvalue) if wins + losses else 1.0
    return Counts(wins, len(found) - wins - losses, losses, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value as it counts among all of them (Holm 1979): below 0.05, it is found at 5 % over the whole family."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, least = [1.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def sets_needed(spread: float, margin: float, power: float = 0.8) -> int:
    """Fewest data sets with which a loss of `margin` is excluded with probability `power`, if there is no difference.

    Excluded is what lies below Student's 95 % interval; `spread` is the standard deviation between data sets.
    """
    if not (margin > 0 and 0 <= spread < math.inf):
        raise ValueError(f"no number of data sets for a spread of {spread} and a margin of {margin}")
    sides = ((1 + CONFIDENCE) / 2, power)
    size = max(2, math.floor((sum(map(stats.norm.ppf, sides)) * spread / margin) ** 2))
    while margin * math.sqrt(size) < spread * sum(stats.t.ppf(side, size - 1) for side in sides):
        size += 1
    return size
