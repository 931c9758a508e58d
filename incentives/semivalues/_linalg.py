"""Linear algebra whose bits do not depend on the BLAS library, its threads or the processor.

A matrix product in floating point depends on the order of its additions, and every BLAS orders them differently. Here
factors are cut into two slices of few bits, so that every partial sum is exact and the order does not matter (Ozaki,
Ogita, Oishi and Rump 2012, "Error-free transformations of matrix multiplication"). Everything else is element-wise IEEE
arithmetic or a sum along the first axis, which numpy does row by row.
"""

from __future__ import annotations

import numpy as np

from deltaproof.protocol.rules import FACTOR_BLOCK, PRODUCT_SLICE_BITS, PRODUCT_TERMS, PRODUCT_TINY
from incentives.semivalues._result import Floats


def product(left: Floats, right: Floats, *, fine: bool = False) -> Floats:
    """left @ right, [m, k] x [k, n].

    Error about 2^-45, if `fine` 2^-52, of the largest entry in the row times the largest in the column, per term.
    """
    total = np.zeros((left.shape[0], right.shape[1]))
    for start in range(0, left.shape[1], PRODUCT_TERMS):
        high_l, low_l, rest_l = _slices(left[:, start : start + PRODUCT_TERMS], 1)
        high_r, low_r, rest_r = _slices(right[start : start + PRODUCT_TERMS], 0)
        # INVARIANT: each of these products is exact, so only the additions round, and their order is fixed.
        minor = high_l @ low_r + low_l @ high_r
        if fine:
            minor += low_l @ low_r + (high_l @ _cut(rest_r, 0) + _cut(rest_l, 1) @ high_r)
        total += high_l @ high_r + minor
    return total


def inverse_root(matrix: Floats) -> Floats:
    """R, lower triangular, with R.T @ R = matrix^-1, for a symmetric positive definite matrix (inverse Cholesky
    factor).

    Raises np.linalg.LinAlgError if it is not positive definite.
    """
    size = len(matrix)
    if size <= FACTOR_BLOCK:
        return _inverse_root_of_block(matrix)
    half = 1 << (size - 1).bit_length() - 1
    head = inverse_root(matrix[:half, :half])
    below = product(matrix[half:, :half], head.T, fine=True)
    tail = inverse_root(matrix[half:, half:] - product(below, below.T, fine=True))
    result = np.zeros((size, size))
    result[:half, :half] = head
    result[half:, half:] = tail
    result[half:, :half] = -product(tail, product(below, head, fine=True), fine=True)
    return result


def _inverse_root_of_block(matrix: Floats) -> Floats:
    size = len(matrix)
    # Forward substitution on the identity goes along with the factorisation, one row at a time.
    work = np.hstack([matrix, np.eye(size)])
    for pivot in range(size):
        peak = work[pivot, pivot]
        if not peak > 0:
            raise np.linalg.LinAlgError(f"pivot {peak} is not positive")
        row = work[pivot, pivot : size + pivot + 1]
        row /= np.sqrt(peak)
        work[pivot + 1 :, pivot : size + pivot + 1] -= row[1 : size - pivot, None] * row
    return work[:, size:]


def _slices(matrix: Floats, axis: int) -> tuple[Floats, Floats, Floats]:
    """matrix = high + low + rest: 23 bits of the peak along `axis`, the 23 next, and less than 2^-45 of it."""
    high = _cut(matrix, axis)
    rest = matrix - high
    low = _cut(rest, axis)
    rest -= low
    return high, low, rest


def _cut(matrix: Floats, axis: int) -> Floats:
    """To multiples of a power of two, at most 2^23 of it in each row (axis 1) or column (axis 0)."""
    peak = np.abs(matrix).max(axis=axis, keepdims=True, initial=0.0)
    # Adding and taking away 1.5 * 2^52 units rounds to whole units, ties to even.
    shift = np.ldexp(1.5 * 2.0 ** (52 - PRODUCT_SLICE_BITS), np.frexp(np.maximum(peak, PRODUCT_TINY))[1])
    return np.asarray((matrix + shift) - shift)
