"""Comparing many methods over many data sets: average ranks and paired intervals (Demsar 2006).

Legend: N data sets, K methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Paired", "Ranks", "paired", "ranked"]

CONFIDENCE = 0.95


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
    Friedman's statistic is compared as Iman and Davenport do. Raises ValueError for fewer than two data sets or three
    methods.
    """
    size, methods = quality.shape
    if size < 2 or methods < 3:
        raise ValueError(f"{size} data sets and {methods} methods are too few to rank")
    average = np.asarray(stats.rankdata(-quality, axis=1).mean(axis=0), np.float64)
    spread = float(np.sum(average**2)) - methods * (methods + 1) ** 2 / 4
    friedman = 12 * size / (methods * (methods + 1)) * spread
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


def paired(differences: Sequence[Sequence[float]]) -> Paired:
    """From the differences of each data set, one for each seed: Student's interval over the data sets' means.

    Seeds of one data set are not independent of one another. Raises ValueError for none.
    """
    means = [float(np.mean(found)) for found in differences if len(found)]
    if not means:
        raise ValueError("no difference to average")
    runs = sum(map(len, differences))
    if len(means) == 1:
        return Paired(means[0], float("inf"), 1, runs)
    error = float(np.std(means, ddof=1)) / np.sqrt(len(means))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1)) * error
    return Paired(float(np.mean(means)), float(half), len(means), runs)
