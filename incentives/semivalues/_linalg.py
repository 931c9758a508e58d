"""Linear algebra whose bits do not depend on the BLAS library, its threads or the processor.

A matrix product in floating point depends on the order of its additions, and every BLAS orders them differently. Here
factors are cut into slices of few bits, so that every partial sum is exact and the order does not matter (Ozaki, Ogita,
Oishi and Rump 2012, "Error-free transformations of matrix multiplication"). Everything else is element-wise IEEE
arithmetic or a sum along the first axis, which numpy does row by row.
"""

from __future__ import annotations

import numpy as np

from incentives.semivalues._result import Floats

_BLOCK = 32
_SLICE_BITS = 23
"""2 * 23 + log2(terms) <= 53: products of two slices add up exactly over 128 terms, which is what `_CHUNK` keeps to."""
_CHUNK = 128


def product(left: Floats, right: Floats) -> Floats:
    """left @ right, [m, k] x [k, n]; error about 2^-52 of the largest entries' product per term."""
    total = np.zeros((left.shape[0], right.shape[1]))
    for start in range(0, left.shape[1], _CHUNK):
        high_l, low_l, rest_l = _slices(left[:, start : start + _CHUNK])
        high_r, low_r, rest_r = _slices(right[start : start + _CHUNK])
        # INVARIANT: each of these products is exact, so only the additions round, and their order is fixed.
        fine = low_l @ low_r + (high_l @ rest_r + rest_l @ high_r)
        total += high_l @ high_r + ((high_l @ low_r + low_l @ high_r) + fine)
    return total


def inverse_root(matrix: Floats) -> Floats:
    """R, lower triangular, with R.T @ R = matrix^-1, for a symmetric positive definite matrix (inverse Cholesky
    factor).

    Raises np.linalg.LinAlgError if it is not positive definite.
    """
    size = len(matrix)
    if size <= _BLOCK:
        return _inverse_root_of_block(matrix)
    half = 1 << (size - 1).bit_length() - 1
    head = inverse_root(matrix[:half, :half])
    below = product(matrix[half:, :half], head.T)
    tail = inverse_root(matrix[half:, half:] - product(below, below.T))
    result = np.zeros((size, size))
    result[:half, :half] = head
    result[half:, half:] = tail
    result[half:, :half] = -product(tail, product(below, head))
    return result


def _inverse_root_of_block(matrix: Floats) -> Floats:
    work = matrix.copy()
    size = len(work)
    result = np.eye(size)
    for pivot in range(size):
        if not work[pivot, pivot] > 0:
            raise np.linalg.LinAlgError(f"pivot {work[pivot, pivot]} is not positive")
        column = work[pivot:, pivot] / np.sqrt(work[pivot, pivot])
        work[pivot + 1 :, pivot + 1 :] -= column[1:, None] * column[None, 1:]
        # Forward substitution on the identity goes along, one row at a time.
        result[pivot, : pivot + 1] /= column[0]
        result[pivot + 1 :, : pivot + 1] -= column[1:, None] * result[None, pivot, : pivot + 1]
    return result


def _slices(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """matrix = high + low + rest + less than 2^-69 of its peak, each a multiple of a power of two with 23 bits."""
    peak = float(np.abs(matrix).max(initial=0.0))
    if peak == 0.0:
        return matrix, matrix, matrix
    unit = 2.0 ** (int(np.frexp(peak)[1]) - _SLICE_BITS)
    high = np.rint(matrix / unit) * unit
    matrix = matrix - high
    unit *= 2.0**-_SLICE_BITS
    low = np.rint(matrix / unit) * unit
    matrix = matrix - low
    unit *= 2.0**-_SLICE_BITS
    return high, low, np.rint(matrix / unit) * unit
