"""The fixed-order linear algebra against LAPACK, where matrices are hard: dependent, zero, graded, of odd size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from deltaproof.tuning.numerics.linalg import frobenius, matmul, orthonormalise, singular_values, tree_sum

Floats = NDArray[np.float64]
RNG = np.random.default_rng(0)


def low_rank(rows: int, columns: int, rank: int) -> Floats:
    return RNG.normal(size=(rows, rank)) @ RNG.normal(size=(rank, columns))


MATRICES: dict[str, Floats] = {
    "tall": RNG.normal(size=(20, 6)),
    "odd": RNG.normal(size=(9, 7)),
    "one column": RNG.normal(size=(5, 1)),
    "wide": RNG.normal(size=(4, 9)),
    "zero": np.zeros((6, 4)),
    "rank 2 of 6": low_rank(12, 6, 2),
    "equal columns": np.repeat(RNG.normal(size=(10, 1)), 5, axis=1),
    "graded": RNG.normal(size=(15, 6)) * 10.0 ** -np.arange(0, 12, 2),
    "huge and tiny": np.diag([1e150, 1.0, 1e-150]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_singular_values_agree_with_lapack(name: str) -> None:
    matrix = MATRICES[name]
    u, sizes, v = (part[0] for part in singular_values(matrix[None]))
    expected = np.linalg.svd(matrix, compute_uv=False)
    scale = max(1e-300, float(expected[0]))
    assert np.abs(sizes[: len(expected)] - expected).max() <= 1e-14 * scale * len(sizes)
    assert np.abs(sizes[len(expected) :]).max(initial=0.0) <= 1e-14 * scale
    assert (np.diff(sizes) <= 0).all()
    assert np.abs(u * sizes @ v.T - matrix).max() <= 1e-14 * scale * len(sizes)
    assert np.allclose(v.T @ v, np.eye(len(sizes)), atol=1e-13)


@pytest.mark.parametrize("name", MATRICES)
def test_orthonormalise_agrees_with_its_matrix(name: str) -> None:
    matrix = MATRICES[name]
    q, r = (part[0] for part in orthonormalise(matrix[None]))
    assert np.abs(q @ r - matrix).max() <= 1e-14 * max(1e-300, float(np.abs(matrix).max())) * matrix.shape[1]
    assert np.array_equal(r, np.triu(r))
    live = np.linalg.norm(q, axis=0) > 0.5
    assert np.allclose(q[:, live].T @ q[:, live], np.eye(int(live.sum())), atol=1e-13)
    assert (q[:, ~live] == 0).all()


def test_orthonormalise_dependent_columns_vanish() -> None:
    q, _ = orthonormalise(MATRICES["rank 2 of 6"][None])
    assert np.linalg.norm(q[0], axis=0).round(12).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_modules_do_not_touch_each_other() -> None:
    """Results of a module are the same bits alone and beside others that need more sweeps."""
    easy, hard = np.diag([3.0, 2.0, 1.0, 0.5]), RNG.normal(size=(4, 4))
    for function in (singular_values, orthonormalise):
        together = function(np.stack([easy, hard]))
        for number, matrix in enumerate((easy, hard)):
            for part, alone in zip(together, function(matrix[None]), strict=True):
                assert np.array_equal(part[number], alone[0])


def test_tree_sum_order_is_fixed_and_accurate() -> None:
    values = RNG.normal(size=(1001, 3)) * 10.0 ** RNG.integers(-8, 8, size=(1001, 3))
    exact = [math.fsum(values[:, j]) for j in range(3)]
    assert np.allclose(tree_sum(values, 0), exact, rtol=1e-9)
    assert np.array_equal(tree_sum(values, 0), tree_sum(np.ascontiguousarray(values.T), 1))
    assert tree_sum(np.zeros((0, 2)), 0).tolist() == [0.0, 0.0]


def test_matmul_and_frobenius() -> None:
    left, right = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(3, 5, 2))
    assert np.allclose(matmul(left, right), left @ right, rtol=1e-13)
    assert np.allclose(matmul(left, right[0]), left @ right[0], rtol=1e-13)
    assert np.allclose(frobenius(left), np.linalg.norm(left, axis=(1, 2)))
