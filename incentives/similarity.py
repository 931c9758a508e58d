"""Which deltas are copies of others, compared as products.

A copy need not share a byte with its original: scaled, noised or re-factored as (B R)(R^-1 A) it has other tensors and
another digest. But its update of the model's weights is still nearly parallel to the original's. Two similarities are
taken, and the larger one counts: the cosine over all products, and the median of the cosines of single modules. Noise
in a few modules leaves the median alone.

The discount has a direction: of two alike the one committed first keeps its share, so whoever is copied loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltaproof.tuning.combining.aggregation import Array, LowRankPair, Tensors, module_grams

__all__ = ["copies", "similarities"]

BLOCK = 16
"""Members whose inner products with all others are held at once: the memory is N, not N^2, a module."""


def similarities(members: Sequence[Tensors], start: Tensors, pairs: Sequence[LowRankPair]) -> Array:
    """Similarity of the members' updates of `start`, float64 [N, N] in [-1, 1], symmetric.

    A module that a member did not change has no direction and is not compared; no common module gives 0.
    """
    if not members:
        return np.zeros((0, 0))
    squares = np.concatenate([module_grams([member], pairs, start)[:, 0] for member in members], axis=1)  # [M, N]
    blocks = (slice(first, first + BLOCK) for first in range(0, len(members), BLOCK))
    larger = np.concatenate([_larger(module_grams(members, pairs, start, rows), squares, rows) for rows in blocks])
    return np.asarray((larger + larger.T) / 2)  # sums over (i, j) and (j, i) round differently


def _larger(grams: Array, squares: Array, rows: slice) -> Array:
    """The larger of the two similarities of some members to all, [n, N], from inner products [M, n, N]; `squares`
    [M, N] are all members' products with themselves."""
    whole = np.nan_to_num(_cosines(_over_modules(grams), _over_modules(squares), rows), nan=0.0)
    each = _cosines(grams, squares, rows)
    each[:, np.isnan(each).all(axis=0)] = 0.0  # no common module; the median below would be of nothing
    return np.maximum(whole, np.nanmedian(each, axis=0))


def _over_modules(values: Array) -> Array:
    """Sum over modules in their order, whatever the shape of the rest."""
    total = np.zeros(values.shape[1:])
    for module in values:
        total += module
    return total


def copies(similarity: Array, order: Sequence[int], threshold: float) -> tuple[int | None, ...]:
    """For each member the original that it copies, or None.

    Args:
        similarity: float64 [N, N].
        order: rank of each member's commitment on chain; distinct.
        threshold: from which two members are alike.

    A member is a copy if it is alike to any that committed earlier; its original is the earliest of those, or what that
    one copied itself.
    """
    if len(set(order)) != len(order) or similarity.shape != (len(order), len(order)):
        raise ValueError(f"{len(order)} distinct ranks needed for similarities of shape {similarity.shape}")
    original: list[int | None] = [None] * len(order)
    # By commitment, so that what an original copied itself is known before its own copies are looked at.
    ranks = np.array(order)
    for i in sorted(range(len(order)), key=lambda i: order[i]):
        earlier = np.flatnonzero((similarity[i] >= threshold) & (ranks < ranks[i])).tolist()
        if earlier:
            first = min(earlier, key=lambda j: order[j])
            source = original[first]
            original[i] = first if source is None else source
    return tuple(original)


def _cosines(grams: Array, squares: Array, rows: slice) -> Array:
    """[..., n, N] inner products of the members `rows` with all to cosines; NaN where a norm is zero. `squares` are of
    all members, [..., N]."""
    norms = np.sqrt(np.maximum(squares, 0.0))
    scale = norms[..., rows, None] * norms[..., None, :]
    return np.asarray(np.divide(grams, scale, out=np.full(grams.shape, np.nan), where=scale > 0))
