"""A smooth model of the game, fitted to the sampled coalitions.

Kernel ridge regression with a free constant (Gaussian process with unknown mean; Rasmussen and Williams 2006, 2.7). The
kernel and the ridge are those whose leave-one-out residuals, weighed as they enter the index, are smallest. Leaving a
coalition out has a closed form: residual_b = a_b / M_bb, with a = M y and M the inverse of the ridged kernel matrix after
projecting the constant out (5.12 there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from incentives.semivalues._kernels import KERNELS, Points, gram
from incentives.semivalues._linalg import cholesky, product, solve_lower
from incentives.semivalues._result import Floats

RIDGES = tuple(10.0**-power for power in (8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0, -1))
_CHUNK = 4096


@dataclass(frozen=True)
class Surrogate:
    """A fitted model; call `predict`. `left_out` are the leave-one-out residuals, float64 [n]."""

    kernel: str
    ridge: float
    centres: Points
    coefficients: Floats
    constant: float
    left_out: Floats

    def predict(self, where: Points) -> Floats:
        """Modelled values, float64 [len(where)]."""
        parts = []
        for start in range(0, len(where.square), _CHUNK):
            # Centres first, then summed along the first axis: a fixed order of additions.
            near = gram(self.kernel, self.centres, where[slice(start, start + _CHUNK)])
            near *= self.coefficients[:, None]
            parts.append(near.sum(axis=0))
        return np.concatenate(parts) + self.constant


def fit(centres: Points, values: Floats, importance: Floats) -> Surrogate:
    """The best of all kernels and ridges. importance: float64 [n], weight of a squared residual in the criterion."""
    choices = [choice for kernel in KERNELS for choice in _criteria(kernel, centres, values, importance)]
    _, kernel, ridge = min(choices)
    return _solve(kernel, ridge, centres, values)


def _criteria(kernel: str, centres: Points, values: Floats, importance: Floats) -> list[tuple[float, str, float]]:
    """(weighted leave-one-out error, kernel, ridge) for all ridges, from one eigendecomposition.

    LAPACK's last bits differ between machines; they can change a choice only if two criteria agree in about ten digits.
    """
    matrix = gram(kernel, centres, centres)
    spectrum, basis = np.linalg.eigh(matrix / _scale(matrix))
    spectrum = np.maximum(spectrum, 0.0)
    ones, target, square = basis.sum(axis=0), values @ basis, basis**2
    result = []
    for ridge in RIDGES:
        inverse = 1.0 / (spectrum + ridge)
        ones_row = basis @ (inverse * ones)
        mass = float((inverse * ones * ones).sum())
        solved = basis @ (inverse * target) - ones_row * float((inverse * ones * target).sum()) / mass
        left_out = solved / (square @ inverse - ones_row**2 / mass)
        result.append((float((importance * left_out**2).sum()), kernel, ridge))
    return result


def _solve(kernel: str, ridge: float, centres: Points, values: Floats) -> Surrogate:
    matrix = gram(kernel, centres, centres)
    scale = _scale(matrix)
    count = len(matrix)
    root = solve_lower(cholesky(matrix / scale + ridge * np.eye(count)), np.eye(count))
    # root.T @ root is the inverse; columns of `root` hold what each centre contributes.
    ones = product(root, np.ones((count, 1)))
    rows = product(root.T, np.hstack([product(root, values[:, None]), ones]))
    mass = float((ones[:, 0] ** 2).sum())
    constant = float((rows[:, 1] * values).sum()) / mass
    solved = rows[:, 0] - rows[:, 1] * constant
    left_out = solved / ((root**2).sum(axis=0) - rows[:, 1] ** 2 / mass)
    return Surrogate(kernel, ridge, centres, solved / scale, constant, left_out)


def _scale(matrix: Floats) -> float:
    return float(matrix.diagonal().sum()) / len(matrix)
