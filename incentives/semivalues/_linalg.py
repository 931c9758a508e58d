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
    """left @ right, [m, k] x [k, n]; error below 2^-42 of the largest entries' product per term."""
    total = np.zeros((left.shape[0], right.shape[1]))
    for start in range(0, left.shape[1], _CHUNK):
        high_l, low_l = _slices(left[:, start : start + _CHUNK])
        high_r, low_r = _slices(right[start : start + _CHUNK])
        # INVARIANT: each of the three products is exact, so only these additions round, and their order is fixed.
        total += high_l @ high_r + (high_l @ low_r + low_l @ high_r)
    return total


def cholesky(matrix: Floats) -> Floats:
    """Lower factor of a symmetric positive definite matrix. Raises np.linalg.LinAlgError if it is not."""
    work = matrix.copy()
    size = len(work)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        for pivot in range(start, stop):
            if not work[pivot, pivot] > 0:
                raise np.linalg.LinAlgError(f"pivot {pivot} of {size} is {work[pivot, pivot]}")
            work[pivot:, pivot] /= np.sqrt(work[pivot, pivot])
            tail = work[pivot + 1 :, pivot]
            work[pivot + 1 :, pivot + 1 : stop] -= tail[:, None] * tail[None, : stop - pivot - 1]
        panel = work[stop:, start:stop]
        work[stop:, stop:] -= product(panel, panel.T)
    return np.tril(work)


def solve_lower(factor: Floats, right: Floats) -> Floats:
    """factor^-1 @ right for a lower triangular factor, [n, n] and [n, k]."""
    result = right.copy()
    size = len(factor)
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        for row in range(start, stop):
            result[row] /= factor[row, row]
            result[row + 1 : stop] -= factor[row + 1 : stop, row, None] * result[None, row]
        if stop < size:
            result[stop:] -= product(factor[stop:, start:stop], result[start:stop])
    return result


def solve(factor: Floats, right: Floats) -> Floats:
    """(factor @ factor.T)^-1 @ right, [n, n] and [n, k]."""
    half = solve_lower(factor, right)
    # factor.T x = half, solved as a lower triangular system with rows and columns reversed.
    return solve_lower(np.ascontiguousarray(factor.T[::-1, ::-1]), half[::-1])[::-1]


def _slices(matrix: Floats) -> tuple[Floats, Floats]:
    """matrix = high + low + rest: `high` and `low` are multiples of powers of two with at most 23 bits each."""
    peak = float(np.abs(matrix).max(initial=0.0))
    if peak == 0.0:
        return matrix, matrix
    unit = 2.0 ** (int(np.frexp(peak)[1]) - _SLICE_BITS)
    high = np.rint(matrix / unit) * unit
    fine = unit * 2.0**-_SLICE_BITS
    return high, np.rint((matrix - high) / fine) * fine
