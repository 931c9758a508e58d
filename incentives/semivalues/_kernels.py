"""How alike two coalitions are, for the surrogate.

Two views of a coalition: its members z (as signs, +1 in and -1 out) and the aggregation weights p = w z / sum(w z) with
which its deltas are averaged. A game that evaluates an averaged model is a smooth function of p; a game with synergies is
a polynomial of z. Kernels are rational functions, so that every IEEE machine computes the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incentives.semivalues._result import Bools, Floats

_GRID = 2.0**25
"""p is rounded to this grid: its inner products are then exact in any order, and no game notices 3e-8."""
KERNELS = ("mean", "mean_cubic", "set")


@dataclass(frozen=True)
class Points:
    """Coalitions as kernels see them: signs float64 [n, players], mean float64 [n, players], square float64 [n] = |p|^2."""

    signs: Floats
    mean: Floats
    square: Floats

    def __getitem__(self, rows: slice) -> Points:
        return Points(self.signs[rows], self.mean[rows], self.square[rows])


def points(coalitions: Bools, weights: Floats) -> Points:
    """Both views of bool [n, players]; weights: float64 [players], positive."""
    share = np.where(coalitions, weights / weights.max(), 0.0)
    total = np.ascontiguousarray(share.T).sum(axis=0)
    mean = np.rint(share / np.where(total > 0, total, 1.0)[:, None] * _GRID) / _GRID
    square = np.ascontiguousarray((mean * mean).T).sum(axis=0)
    return Points(np.where(coalitions, 1.0, -1.0), mean, square)


def gram(kernel: str, left: Points, right: Points) -> Floats:
    """Kernel matrix float64 [len(left), len(right)]."""
    players = left.signs.shape[1]
    # Whole numbers, and multiples of 2^-50 below one: both products are exact.
    agree = (left.signs @ right.signs.T) / players
    if kernel == "set":
        return agree * (1.0 + agree * (1.0 + agree))
    overlap = left.mean @ right.mean.T
    if kernel == "mean_cubic":
        near = 1.0 + overlap
        return near * near * near + agree * (1.0 + agree)
    distance = np.maximum(left.square[:, None] + right.square[None, :] - 2.0 * overlap, 0.0)
    return 1.0 / (1.0 + distance) + agree * (1.0 + agree)
