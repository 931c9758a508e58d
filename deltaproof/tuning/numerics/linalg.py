"""Small dense linear algebra whose float64 results have the same bits on every IEEE-754 machine.

BLAS and LAPACK differ in the last bits between processors, thread counts and versions, and a singular value
decomposition turns such differences into other factors: two verifiers would derive two next starting adapters.
Everything here is element-wise numpy (one rounding per operation, no fused multiply-add) with sums in a fixed order.

Legend: M modules of the same shape, handled at once and independently of each other; n rows; k columns.
"""

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.rules import DEPENDENT_COLUMN, JACOBI_ORTHOGONAL, JACOBI_SWEEPS

__all__ = ["Array", "frobenius", "matmul", "orthonormalise", "singular_values", "tree_sum"]

Array = NDArray[np.float64]
"""float64 of any shape."""


def tree_sum(values: Array, axis: int) -> Array:
    """Sum along one axis by halving: an order that depends on the length alone."""
    terms = np.moveaxis(values, axis, 0)
    if terms.shape[0] == 0:
        return np.zeros(terms.shape[1:])
    while (count := terms.shape[0]) > 1:
        half = count // 2
        paired = terms[:half] + terms[half : 2 * half]
        terms = np.concatenate([paired, terms[2 * half :]]) if count % 2 else paired
    return np.asarray(terms[0])


def matmul(left: Array, right: Array) -> Array:
    """[..., n, k] times [..., k, m], summed over k in order."""
    shape = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    total = np.zeros((*shape, left.shape[-2], right.shape[-1]))
    for j in range(left.shape[-1]):
        total += left[..., :, j, None] * right[..., None, j, :]
    return total


def frobenius(matrix: Array) -> Array:
    """Frobenius norm over the last two axes."""
    return np.sqrt(tree_sum(tree_sum(matrix * matrix, -1), -1))


def orthonormalise(matrix: Array) -> tuple[Array, Array]:
    """Thin QR of [M, n, k] by Gram-Schmidt, twice (Giraud et al. 2005); a dependent column gives a zero column of Q.

    Returns Q [M, n, k] and upper triangular R [M, k, k] with Q R = matrix.
    """
    modules, rows, columns = matrix.shape
    # Columns are stored as rows here: they are what is read and written as a whole.
    basis = np.zeros((modules, columns, rows))
    upper = np.zeros((modules, columns, columns))
    for j in range(columns):
        rest = np.ascontiguousarray(matrix[:, :, j])
        length = np.sqrt(tree_sum(rest * rest, 1))
        for _ in range(2 if j else 0):  # once leaves an error that grows with the condition number
            shadow = tree_sum(basis[:, :j] * rest[:, None, :], 2)
            rest = rest - tree_sum(basis[:, :j] * shadow[:, :, None], 1)
            upper[:, :j, j] += shadow
        norm = np.sqrt(tree_sum(rest * rest, 1))
        independent = norm > DEPENDENT_COLUMN * length
        upper[:, j, j] = np.where(independent, norm, 0.0)
        basis[:, j] = np.where(independent[:, None], rest / np.where(independent, norm, 1.0)[:, None], 0.0)
    return basis.swapaxes(1, 2), upper


def singular_values(matrix: Array) -> tuple[Array, Array, Array]:
    """U [M, n, k], s [M, k] descending, V [M, k, k] with U diag(s) V^T = matrix [M, n, k].

    One-sided Jacobi (Hestenes 1958) with a round-robin order, so that k/2 independent rotations are one numpy step.
    Columns of U that belong to a zero singular value are zero.
    """
    modules, rows, columns = matrix.shape
    even = columns + columns % 2
    # One row per column of [matrix; identity]: rotating rows i and j turns matrix into matrix V and identity into V.
    work = np.zeros((modules, even, rows + columns))
    work[:, :columns, :rows] = matrix.swapaxes(1, 2)
    work[:, np.arange(columns), rows + np.arange(columns)] = 1.0
    for _ in range(JACOBI_SWEEPS):
        rotated = False
        for first, second in _round_robin(even):
            rotated |= _rotate(work, first, second, rows)
        if not rotated:
            break
    images, v_rows = work[:, :columns, :rows], work[:, :columns, rows:]
    sizes = np.sqrt(tree_sum(images * images, 2))
    order = np.argsort(-sizes, axis=1, kind="stable")
    sizes = np.take_along_axis(sizes, order, 1)
    images = np.take_along_axis(images, order[:, :, None], 1)
    v_rows = np.take_along_axis(v_rows, order[:, :, None], 1)
    positive = sizes > 0
    directions = np.where(positive[:, :, None], images / np.where(positive, sizes, 1.0)[:, :, None], 0.0)
    return directions.swapaxes(1, 2), sizes, v_rows.swapaxes(1, 2)


def _rotate(work: Array, first: NDArray[np.intp], second: NDArray[np.intp], rows: int) -> bool:
    """Make each pair of rows orthogonal over their first `rows` entries, in place; whether any pair was not."""
    x, y = work[:, first], work[:, second]
    alpha = tree_sum(x[..., :rows] * x[..., :rows], 2)
    beta = tree_sum(y[..., :rows] * y[..., :rows], 2)
    gamma = tree_sum(x[..., :rows] * y[..., :rows], 2)
    turn = np.abs(gamma) > JACOBI_ORTHOGONAL * np.sqrt(alpha) * np.sqrt(beta)
    if not turn.any():
        return False
    zeta = (beta - alpha) / np.where(turn, 2.0 * gamma, 1.0)
    with np.errstate(over="ignore"):  # an infinite zeta is a pair that needs no rotation, and gets none
        tangent = np.where(zeta >= 0, 1.0, -1.0) / (np.abs(zeta) + np.sqrt(1.0 + zeta * zeta))
    cosine = 1.0 / np.sqrt(1.0 + tangent * tangent)
    sine = np.where(turn, cosine * tangent, 0.0)[..., None]
    cosine = np.where(turn, cosine, 1.0)[..., None]
    work[:, first] = cosine * x - sine * y
    work[:, second] = sine * x + cosine * y
    return True


def _round_robin(players: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Every pair of an even number of players once, in rounds of disjoint pairs."""
    seats = list(range(players))
    rounds = []
    for _ in range(players - 1):
        left, right = seats[: players // 2], seats[: players // 2 - 1 : -1]
        pairs = sorted((min(a, b), max(a, b)) for a, b in zip(left, right, strict=True))
        rounds.append((np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return rounds
