"""A smooth model of the game, fitted to the sampled coalitions.

Kernel ridge regression with a free constant (a Gaussian process with unknown mean; Rasmussen and Williams 2006, 2.7).
The kernel and the ridge are those whose left-out residuals, weighed as they enter the index, are smallest. A whole
pair of complements is left out at a time: half of what a kernel knows of a coalition it knows of the complement too.
Leaving out has a closed form: with P the inverse of the ridged kernel matrix after projecting the constant out, the
residuals of a pair are P[pair, pair]^-1 (P y)[pair] (the block form of 5.12 there).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deltaproof.protocol.rules import AUTO_NOTHING, AUTO_RIDGE_GROWTH, AUTO_RIDGES, AUTO_SINGULAR
from incentives.semivalues._kernels import Points, gram, likeness
from incentives.semivalues._linalg import inverse_root, product
from incentives.semivalues._result import Floats, Ints


@dataclass(frozen=True)
class Sample:
    """Coalitions whose values are known: the full one first, then pairs of complements, then single ones.

    values: float64 [n]. importance: float64 [n], weight of a squared residual in the choice of a model.
    """

    points: Points
    values: Floats
    importance: Floats
    pairs: int

    def __len__(self) -> int:
        return len(self.values)

    def part(self, limit: int) -> tuple[Ints, Sample]:
        """At most `limit` coalitions at even distances: their rows, int64, and themselves."""
        single = len(self) - 1 - 2 * self.pairs
        keep = min(1.0, (limit - 1) / max(1, len(self) - 1))
        first = 1 + 2 * _even(self.pairs, int(keep * self.pairs))
        rows = np.concatenate(
            [
                [0],
                np.stack([first, first + 1], axis=1).reshape(-1),
                1 + 2 * self.pairs + _even(single, int(keep * single)),
            ]
        ).astype(np.int64)
        return rows, Sample(self.points[rows], self.values[rows], self.importance[rows], len(first))


@dataclass(frozen=True)
class KernelChoice:
    """A kernel and a ridge, the criterion that chose them (less is better), and the left-out residuals float64 [n]."""

    criterion: float
    kernel: str
    ridge: float
    left_out: Floats


@dataclass(frozen=True)
class Surrogate:
    """A fitted model: value(S) = constant + gram(S, centres) @ coefficients.

    centres: the coalitions fitted. matrix: their scaled kernel matrix [n, n]; scale: what it was divided by.
    left_out: float64 [n], residuals of a fit without the pair, or without the single one.
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
        spread = product(product(functional, self._root.T, fine=True), self._root, fine=True)
        along = (functional * self._ones).sum(axis=1)
        result: Floats = spread + ((of_constant - along) / self._mass)[:, None] * self._ones
        return result


def choices(sample: Sample, kernels: Sequence[str]) -> list[KernelChoice]:
    """Each of these kernels with the best of all ridges, by one eigendecomposition each; the best kernel first.

    LAPACK's last bits differ between machines; they can change a choice only if two criteria agree in about ten digits.
    """
    alike = likeness(sample.points, sample.points)
    best = [_best_ridge(kernel, alike.kernel(kernel), sample) for kernel in kernels]
    return sorted(best, key=lambda choice: choice.criterion)


def _best_ridge(kernel: str, matrix: Floats, sample: Sample) -> KernelChoice:
    # One decomposition serves all ridges: the inverse for ridge r is basis diag(1 / (spectrum + r)) basis.T. Projecting
    # the constant out of it takes `rows` away from every column.
    spectrum, basis = np.linalg.eigh(matrix / _scale(matrix))
    inverses = 1.0 / (np.maximum(spectrum, 0.0)[:, None] + np.array(AUTO_RIDGES))  # [n, ridges]
    ones, target = basis.sum(axis=0), sample.values @ basis
    rows = basis @ (inverses * ones[:, None])
    mass = (inverses * (ones**2)[:, None]).sum(axis=0)
    solved = basis @ (inverses * target[:, None]) - rows * ((inverses * (ones * target)[:, None]).sum(axis=0) / mass)
    diagonal = basis**2 @ inverses - rows**2 / mass
    first, second = _halves(sample.pairs)
    across = (basis[first] * basis[second]) @ inverses - rows[first] * rows[second] / mass
    left_out = _left_out(solved, diagonal, across)
    # Below the floor there is rounding alone, which must decide nothing: the first of equals wins.
    floor = AUTO_NOTHING * float(sample.importance @ (sample.values - sample.values[0]) ** 2)
    errors = np.maximum(sample.importance @ left_out**2, floor)
    best = int(errors.argmin())
    return KernelChoice(float(errors[best]), kernel, AUTO_RIDGES[best], left_out[:, best])


def fit(sample: Sample, kernel: str, ridge: float) -> Surrogate:
    """The model of this kernel and ridge, the same bits on every machine."""
    matrix = gram(kernel, sample.points, sample.points)
    scale = _scale(matrix)
    matrix /= scale
    root, ridge = _root(matrix, ridge)
    # root.T @ root is the inverse; column b of `root` holds what centre b contributes.
    half = product(root, np.stack([sample.values, np.ones(len(sample))], axis=1), fine=True)
    solved, ones = product(root.T, half, fine=True).T
    mass = float((half[:, 1] ** 2).sum())
    constant = float((half[:, 0] * half[:, 1]).sum()) / mass
    solved = solved - ones * constant
    diagonal = (root**2).sum(axis=0) - ones**2 / mass
    first, second = _halves(sample.pairs)
    across = (root[:, first] * root[:, second]).sum(axis=0) - ones[first] * ones[second] / mass
    left_out = _left_out(solved[:, None], diagonal[:, None], across[:, None])[:, 0]
    return Surrogate(kernel, ridge, sample.points, solved, constant, left_out, matrix, scale, root, ones, mass)


def _root(matrix: Floats, ridge: float) -> tuple[Floats, float]:
    """Inverse factor of the ridged matrix, and the ridge: ten times larger for as long as rounding defeats it."""
    while True:
        try:
            return inverse_root(matrix + ridge * np.eye(len(matrix))), ridge
        except np.linalg.LinAlgError:
            ridge *= AUTO_RIDGE_GROWTH
            if ridge > 1.0:
                raise


def _left_out(solved: Floats, diagonal: Floats, across: Floats) -> Floats:
    """Residuals without the pair, or the single one; float64 [n, columns]. across: float64 [pairs, columns]."""
    result = solved / diagonal
    one, two = _halves(len(across))
    first, second = diagonal[one], diagonal[two]
    # A pair that the rest cannot tell from one point has a singular block: keep the determinant off zero.
    determinant = np.maximum(first * second - across**2, AUTO_SINGULAR * first * second)
    result[one] = (second * solved[one] - across * solved[two]) / determinant
    result[two] = (first * solved[two] - across * solved[one]) / determinant
    return result


def _halves(pairs: int) -> tuple[slice, slice]:
    """Rows of the first and of the second coalitions of the pairs."""
    return slice(1, 1 + 2 * pairs, 2), slice(2, 2 + 2 * pairs, 2)


def _even(count: int, kept: int) -> Ints:
    return np.arange(kept) * count // max(kept, 1)


def _scale(matrix: Floats) -> float:
    return float(matrix.diagonal().sum()) / len(matrix)
