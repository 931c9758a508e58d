"""How alike two coalitions are, for the surrogate.

Two views of a coalition: its members z (as signs, +1 in and -1 out) and the aggregation weights p = w z / sum(w z) with
which its deltas are averaged. A game that evaluates an averaged model is a smooth function of p; a game with
synergies is a polynomial of z. Kernels are rational functions, so that every IEEE machine computes the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaproof.protocol.rules import AUTO_GRID, AUTO_NEAR, AUTO_SET_SHARE
from incentives.semivalues._result import Bools, Floats, Ints

KERNELS = ("mean", "near", "quadratic", "set")


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
    mean = np.rint(share / np.where(total > 0, total, 1.0)[:, None] * AUTO_GRID) / AUTO_GRID
    square = np.ascontiguousarray((mean * mean).T).sum(axis=0)
    return Points(np.where(coalitions, 1.0, -1.0), mean, square, coalitions.sum(axis=1).astype(np.float64))


@dataclass(frozen=True)
class Likeness:
    """What all kernels are made of, for pairs of coalitions; fields broadcast against each other.

    agree: z z' / N of signs. overlap: p p'. distance: |p - p'|^2. together: (|S| + |S'|) / 2N.
    crowd: min(|S|, |S'|) / N.
    """

    agree: Floats
    overlap: Floats
    distance: Floats
    together: Floats
    crowd: Floats

    def kernel(self, name: str) -> Floats:
        """One of KERNELS.

        mean: 1 / (1 + |p - p'|^2), smooth functions of the averaged model of any order, with a little of the set.
        near: the same with a reach shorter by a factor of sqrt(8), for values that are rough, like accuracies.
        quadratic: p and p_i p_j, z and z_i z_j: second-order Taylor of a loss in the averaged model.
        set: up to three players acting together.
        All have a term min(|S|, |S'|) for what depends on the number of members alone.
        """
        agree = self.agree
        if name == "set":
            return agree * (1.0 + agree * (1.0 + agree)) + self.crowd
        if name == "quadratic":
            common = (agree - 1.0) / 4.0 + self.together
            return self.averaged(name) + common * (1.0 + common) + self.crowd
        return self.averaged(name) + AUTO_SET_SHARE * (agree * (1.0 + agree) + self.crowd)

    def averaged(self, name: str) -> Floats:
        """The part of a kernel, not "set", that depends on aggregation weights."""
        if name == "quadratic":
            return self.overlap * (1.0 + self.overlap)
        return 1.0 / (1.0 + self.distance * (AUTO_NEAR if name == "near" else 1.0))


def likeness(left: Points, right: Points) -> Likeness:
    """Of every left with every right coalition: fields float64 [len(left), len(right)]."""
    players = left.signs.shape[1]
    # Whole numbers in the first product, multiples of 2^-50 below one in the second: both are exact in any order.
    agree = (left.signs @ right.signs.T) / players
    overlap = left.mean @ right.mean.T
    sizes = left.size[:, None], right.size[None, :]
    return _likeness(agree, overlap, (left.square[:, None], right.square[None, :]), sizes, players)


def gram(kernel: str, left: Points, right: Points) -> Floats:
    """Kernel matrix float64 [len(left), len(right)]."""
    return likeness(left, right).kernel(kernel)


def similarity_by_size(kernel: str, players: int, common: Floats, left: Floats, right: Floats) -> Floats:
    """The kernel of two coalitions under equal weights, which depends on their sizes and common members alone."""
    one_left, one_right = (np.rint(AUTO_GRID / np.maximum(size, 1.0)) / AUTO_GRID for size in (left, right))
    agree = (players + 4.0 * common - 2.0 * (left + right)) / players
    squares = (left * one_left * one_left, right * one_right * one_right)
    return _likeness(agree, common * one_left * one_right, squares, (left, right), players).kernel(kernel)


def _likeness(
    agree: Floats, overlap: Floats, squares: tuple[Floats, Floats], sizes: tuple[Floats, Floats], players: int
) -> Likeness:
    distance = squares[0] + squares[1] - 2.0 * overlap
    together = (sizes[0] + sizes[1]) / (2.0 * players)
    return Likeness(agree, overlap, np.maximum(distance, 0.0), together, np.minimum(*sizes) / players)
