"""A smooth model of the game, fitted to the sampled coalitions.

Kernel ridge regression with a free constant (a Gaussian process with unknown mean; Rasmussen and Williams 2006, 2.7).
The kernel and the ridge are those whose left-out residuals, weighed as they enter the index, are smallest. A whole
pair of complements is left out at a time: half of what a kernel knows of a coalition it knows of the complement too.
Leaving out has a closed form: with P the inverse of the ridged kernel matrix after projecting the constant out, the
residuals of a pair are P[pair, pair]^-1 (P y)[pair] (the block form of 5.12 there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incentives.semivalues._kernels import KERNELS, Points, gram
from incentives.semivalues._linalg import inverse_root, product
from incentives.semivalues._result import Floats, Ints

RIDGES = tuple(10.0**-power for power in (8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0, -1))
_CHOOSE_FROM = 512
"""Kernel and ridge are chosen on at most so many coalitions: they describe the game, not the sample."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted model: value(S) = constant + gram(S, centres) @ coefficients.

    centres: the coalitions fitted, the full one first and then pairs. matrix: their scaled kernel matrix [n, n].
    left_out: float64 [n], residuals of a fit without the pair. scale: what `matrix` was divided by.
    """

    kernel: str
    ridge: float
    centres: Points
    coefficients: Floats
    constant: float
    left_out: Floats
    matrix: Floats
    scale: float
    _root: Floats
    _ones: Floats
    _mass: float

    def near(self, where: Points) -> Floats:
        """Scaled kernel matrix float64 [len(where), n]."""
        return self.matrix if len(where) == len(self.centres) else gram(self.kernel, where, self.centres) / self.scale

    def value_weights(self, functional: Floats, of_constant: Floats) -> Floats:
        """How a linear functional of the model depends on the fitted values: float64 [k, n].

        functional: float64 [k, n], what it makes of the kernel's columns; of_constant: float64 [k], of the constant 1.
        """
        spread = product(product(functional, self._root.T), self._root)
        along = (functional * self._ones).sum(axis=1)
        result: Floats = spread + ((of_constant - along) / self._mass)[:, None] * self._ones
        return result


def fit(centres: Points, values: Floats, importance: Floats) -> Surrogate:
    """The best of all kernels and ridges. importance: float64 [n], weight of a squared residual in the criterion."""
    some = spread_pairs(len(values), _CHOOSE_FROM)
    shown = centres[some], values[some], importance[some]
    choices = [choice for kernel in KERNELS for choice in _criteria(kernel, *shown)]
    _, kernel, ridge = min(choices)
    return _solve(kernel, ridge, centres, values)


def spread_pairs(count: int, limit: int) -> Ints:
    """Rows of at most `limit` of `count` coalitions: the first, and pairs at even distances; int64."""
    pairs = (count - 1) // 2
    kept = min(pairs, (limit - 1) // 2)
    first = np.arange(kept) * pairs // max(kept, 1) * 2 + 1
    return np.concatenate([[0], np.stack([first, first + 1], axis=1).reshape(-1)]).astype(np.int64)


def _criteria(kernel: str, centres: Points, values: Floats, importance: Floats) -> list[tuple[float, str, float]]:
    """(weighted left-out error, kernel, ridge) for all ridges, from one eigendecomposition.

    LAPACK's last bits differ between machines; they can change a choice only if two criteria agree in about ten digits.
    """
    matrix = gram(kernel, centres, centres)
    spectrum, basis = np.linalg.eigh(matrix / _scale(matrix))
    inverses = 1.0 / (np.maximum(spectrum, 0.0)[:, None] + np.array(RIDGES))  # [n, ridges]
    ones, target = basis.sum(axis=0), values @ basis
    rows = basis @ (inverses * ones[:, None])
    mass = (inverses * (ones**2)[:, None]).sum(axis=0)
    solved = basis @ (inverses * target[:, None]) - rows * ((inverses * (ones * target)[:, None]).sum(axis=0) / mass)
    diagonal = basis**2 @ inverses - rows**2 / mass
    across = (basis[1::2] * basis[2::2]) @ inverses - rows[1::2] * rows[2::2] / mass
    errors = importance @ _left_out(solved, diagonal, across) ** 2
    return [(float(error), kernel, ridge) for error, ridge in zip(errors, RIDGES, strict=True)]


def _solve(kernel: str, ridge: float, centres: Points, values: Floats) -> Surrogate:
    matrix = gram(kernel, centres, centres)
    scale = _scale(matrix)
    matrix /= scale
    root, ridge = _root(matrix, ridge)
    # root.T @ root is the inverse; column b of `root` holds what centre b contributes.
    half = product(root, np.stack([values, np.ones(len(values))], axis=1))
    solved, ones = product(root.T, half).T
    mass = float((half[:, 1] ** 2).sum())
    constant = float((half[:, 0] * half[:, 1]).sum()) / mass
    solved = solved - ones * constant
    diagonal = (root**2).sum(axis=0) - ones**2 / mass
    across = (root[:, 1::2] * root[:, 2::2]).sum(axis=0) - ones[1::2] * ones[2::2] / mass
    left_out = _left_out(solved[:, None], diagonal[:, None], across[:, None])[:, 0]
    return Surrogate(kernel, ridge, centres, solved, constant, left_out, matrix, scale, root, ones, mass)


def _root(matrix: Floats, ridge: float) -> tuple[Floats, float]:
    """Inverse factor of the ridged matrix, and the ridge: ten times larger for as long as rounding defeats it."""
    while True:
        try:
            return inverse_root(matrix + ridge * np.eye(len(matrix))), ridge
        except np.linalg.LinAlgError:
            ridge *= 10.0
            if ridge > 1.0:
                raise


def _left_out(solved: Floats, diagonal: Floats, across: Floats) -> Floats:
    """Residuals without the pair: row 0 stands alone, then rows 1 and 2, 3 and 4, ...; float64 [n, columns]."""
    result = solved / diagonal
    first, second = diagonal[1::2], diagonal[2::2]
    # A pair that the rest cannot tell from one point has a singular block: keep the determinant off zero.
    determinant = np.maximum(first * second - across**2, 1e-12 * first * second)
    result[1::2] = (second * solved[1::2] - across * solved[2::2]) / determinant
    result[2::2] = (first * solved[2::2] - across * solved[1::2]) / determinant
    return result


def _scale(matrix: Floats) -> float:
    return float(matrix.diagonal().sum()) / len(matrix)
