"""How alike two coalitions are, for the surrogate.

Two views of a coalition: its members z (as signs, +1 in and -1 out) and the aggregation weights p = w z / sum(w z) with
which its deltas are averaged. A game that evaluates an averaged model is a smooth function of p; a game with
synergies is a polynomial of z. Kernels are rational functions, so that every IEEE machine computes the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incentives.semivalues._result import Bools, Floats, Ints

_GRID = 2.0**25
"""p is rounded to this grid: its inner products are then exact in any order, and no game notices 3e-8."""
KERNELS = ("mean", "quadratic", "set")


@dataclass(frozen=True)
class Points:
    """Coalitions as kernels see them.

    signs: float64 [n, players], +1 or -1. mean: float64 [n, players], p. square: float64 [n], |p|^2. size: float64 [n].
    """

    signs: Floats
    mean: Floats
    square: Floats
    size: Floats

    def __len__(self) -> int:
        return len(self.size)

    def __getitem__(self, rows: slice | Ints) -> Points:
        return Points(self.signs[rows], self.mean[rows], self.square[rows], self.size[rows])


def points(coalitions: Bools, weights: Floats) -> Points:
    """Both views of bool [n, players]; weights: float64 [players], positive."""
    share = np.where(coalitions, weights / weights.max(), 0.0)
    total = np.ascontiguousarray(share.T).sum(axis=0)
    mean = np.rint(share / np.where(total > 0, total, 1.0)[:, None] * _GRID) / _GRID
    square = np.ascontiguousarray((mean * mean).T).sum(axis=0)
    return Points(np.where(coalitions, 1.0, -1.0), mean, square, coalitions.sum(axis=1).astype(np.float64))


def gram(kernel: str, left: Points, right: Points) -> Floats:
    """Kernel matrix float64 [len(left), len(right)]."""
    # Whole numbers here, multiples of 2^-50 below one in the next product: both are exact in any order.
    agree = (left.signs @ right.signs.T) / left.signs.shape[1]
    overlap = agree if kernel == "set" else left.mean @ right.mean.T
    return _similarity(
        kernel,
        agree,
        overlap,
        (left.square[:, None], right.square[None, :]),
        (left.size[:, None], right.size[None, :]),
        left.signs.shape[1],
    )


def similarity_by_size(kernel: str, players: int, common: Floats, left: Floats, right: Floats) -> Floats:
    """The kernel of two coalitions under equal weights, which depends on their sizes and common members alone."""
    one_left, one_right = (np.rint(_GRID / np.maximum(size, 1.0)) / _GRID for size in (left, right))
    agree = (players + 4.0 * common - 2.0 * (left + right)) / players
    squares = (left * one_left * one_left, right * one_right * one_right)
    return _similarity(kernel, agree, common * one_left * one_right, squares, (left, right), players)


def _similarity(
    kernel: str,
    agree: Floats,
    overlap: Floats,
    squares: tuple[Floats, Floats],
    sizes: tuple[Floats, Floats],
    players: int,
) -> Floats:
    """agree: z z' / N of signs; overlap: p p'; squares: |p|^2 and |p'|^2; sizes: |S| and |S'|; all broadcast.

    mean: 1 / (1 + |p - p'|^2), smooth functions of the averaged model of any order, with a little of the set.
    quadratic: p and p_i p_j, z and z_i z_j: second-order Taylor of a loss in the averaged model.
    set: up to three players acting together.
    All have a term min(|S|, |S'|) for what depends on the number of members alone.
    """
    crowd = np.minimum(*sizes) / players
    result: Floats
    if kernel == "set":
        result = agree * (1.0 + agree * (1.0 + agree)) + crowd
    elif kernel == "quadratic":
        common = (agree - 1.0) / 4.0 + (sizes[0] + sizes[1]) / (2.0 * players)
        result = overlap * (1.0 + overlap) + common * (1.0 + common) + crowd
    else:
        distance = np.maximum(squares[0] + squares[1] - 2.0 * overlap, 0.0)
        result = 1.0 / (1.0 + distance) + 0.1 * (agree * (1.0 + agree) + crowd)
    return result
