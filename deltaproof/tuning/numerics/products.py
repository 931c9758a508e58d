"""Low-rank pairs as products: inner products, leading singular triplets, canonical factors.

Legend: N members, M modules of the same shape, R rank of one adapter, O x I shape of a product.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.rules import AGGREGATE_EXACT_COLUMNS, SUBSPACE_OVERSAMPLING, SUBSPACE_ROUNDING, SUBSPACE_STEPS
from deltaproof.tuning.numerics.linalg import Array, frobenius, matmul, orthonormalise, singular_values, tree_sum

__all__ = [
    "LeadingTriplets",
    "LowRankPair",
    "Tensors",
    "canonical_factors",
    "leading_of_dense",
    "leading_of_mean",
    "module_grams",
    "narrowed",
    "same_shape",
]

Tensors = Mapping[str, NDArray[np.float32]]
"""An adapter: trainable tensors by name."""

Map = Callable[[Array], Array]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class LowRankPair:
    """Two tensors that act through their product: `scale * values[b] @ values[a]`, a [R, I] and b [O, R]."""

    module: str
    a: str
    b: str
    scale: float


def module_grams(
    members: Sequence[Tensors],
    pairs: Sequence[LowRankPair],
    start: Tensors | None = None,
    rows: slice = slice(None),
) -> Array:
    """Inner products of the members in each module, float64 [M, N, N], without forming a product.

    <s B_i A_i, s B_j A_j> = s^2 sum((B_i^T B_j) * (A_i A_j^T)). With `start`, of the differences from it. Modules are
    the pairs in order, then each tensor that belongs to no pair, by name. `rows` are the members whose products with
    all are wanted, the same bits as those rows of the whole: for many members the whole does not fit into memory.
    """
    before = [start] if start is not None else []
    everyone, chosen = [*before, *members], [*before, *members[rows]]
    size = len(everyone)
    grams = []
    for pair in pairs:
        a, some_a = (np.concatenate([one[pair.a] for one in part]).astype(np.float64) for part in (everyone, chosen))
        b, some_b = (np.concatenate([one[pair.b].T for one in part]).astype(np.float64) for part in (everyone, chosen))
        rank = a.shape[0] // size
        overlap = (matmul(some_a, a.T) * matmul(some_b, b.T)).reshape(len(chosen), rank, size, rank)
        gram = pair.scale**2 * tree_sum(tree_sum(overlap, 3), 1)
        if start is not None:
            gram = gram[1:, 1:] - gram[1:, :1] - gram[:1, 1:] + gram[0, 0]
        grams.append(gram)
    paired = {name for pair in pairs for name in (pair.a, pair.b)}
    for name in sorted(set(everyone[0]) - paired):
        flat = np.stack([member[name].reshape(-1) for member in members]).astype(np.float64)
        if start is not None:
            flat = flat - start[name].reshape(-1).astype(np.float64)
        grams.append(np.array([tree_sum(flat * row, 1) for row in flat[rows]]))
    return np.stack(grams) if grams else np.zeros((0, len(members[rows]), len(members)))


def same_shape(member: Tensors, pairs: Sequence[LowRankPair]) -> list[list[LowRankPair]]:
    """Pairs whose products and factors have equal shapes, sorted by module."""
    groups: dict[tuple[int, ...], list[LowRankPair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: pair.module):
        groups[(*member[pair.b].shape, *member[pair.a].shape)].append(pair)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class LeadingTriplets:
    """Singular triplets of M products, descending: left [M, O, k], sizes [M, k], right [M, I, k].

    `outside` [M] is the squared norm of what none of the triplets holds.
    """

    left: Array
    sizes: Array
    right: Array
    outside: Array

    def of(self, m: int) -> tuple[Array, Array, Array]:
        """Left vectors, singular values and right vectors of module m."""
        return self.left[m], self.sizes[m], self.right[m]


def leading_of_mean(
    members: Sequence[Tensors], group: Sequence[LowRankPair], counts: NDArray[np.int64]
) -> LeadingTriplets:
    """Triplets of the weighted mean `[p_1 B_1, ..., p_N B_N] [A_1; ...; A_N]`, which is never multiplied out.

    With few columns all of them, from two thin QRs and the SVD of the small matrix between; else the leading ones.
    """
    shares = (counts / counts.sum()).tolist()
    left = np.stack(
        [
            np.concatenate([p * m[pair.b].astype(np.float64) for p, m in zip(shares, members, strict=True)], 1)
            for pair in group
        ]
    )
    right = _stacked_a(members, group)
    if left.shape[2] > AGGREGATE_EXACT_COLUMNS:
        squares = tree_sum(tree_sum(matmul(left.swapaxes(1, 2), left) * matmul(right, right.swapaxes(1, 2)), 2), 1)
        rank = members[0][group[0].a].shape[0]
        return _subspace_iteration(
            lambda x: matmul(left, matmul(right, x)),
            lambda x: matmul(right.swapaxes(1, 2), matmul(left.swapaxes(1, 2), x)),
            right,
            rank,
            squares,
        )
    q_left, r_left = orthonormalise(left)
    q_right, r_right = orthonormalise(right.swapaxes(1, 2))
    u, sizes, v = singular_values(matmul(r_left, r_right.swapaxes(1, 2)))
    return LeadingTriplets(matmul(q_left, u), sizes, matmul(q_right, v), np.zeros(len(group)))


def leading_of_dense(dense: Array, members: Sequence[Tensors], group: Sequence[LowRankPair]) -> LeadingTriplets:
    """Leading triplets of products [M, O, I] that no longer have low rank."""
    rank = members[0][group[0].a].shape[0]
    flipped = dense.swapaxes(1, 2)
    squares = frobenius(dense) ** 2
    return _subspace_iteration(
        lambda x: matmul(dense, x), lambda x: matmul(flipped, x), _stacked_a(members, group), rank, squares
    )


def _subspace_iteration(apply: Map, apply_transposed: Map, starts: Array, rank: int, squares: Array) -> LeadingTriplets:
    """Subspace iteration (Halko et al. 2011) with a fixed number of steps, to 2 R and some more triplets.

    Every row of a mean of products lies in the span of the A's (`starts` [M, N R, I]): a good place to start.
    `squares` [M] are the squared norms of the whole matrices.
    """
    width = min(2 * rank + SUBSPACE_OVERSAMPLING, starts.shape[2])
    mixed = starts[:, :width].copy()
    for first in range(width, starts.shape[1], width):
        block = starts[:, first : first + width]
        mixed[:, : block.shape[1]] += block
    basis = mixed.swapaxes(1, 2)
    for _ in range(SUBSPACE_STEPS):
        image, _ = orthonormalise(apply(orthonormalise(basis)[0]))
        basis = apply_transposed(image)
    right, sizes, u = singular_values(basis)
    outside = squares - tree_sum(sizes**2, 1)
    # The difference of squares carries rounding noise of the size of the whole.
    return LeadingTriplets(
        matmul(image, u), sizes, right, np.where(outside > SUBSPACE_ROUNDING * squares, outside, 0.0)
    )


def _stacked_a(members: Sequence[Tensors], group: Sequence[LowRankPair]) -> Array:
    """[A_1; ...; A_N] of each module, float64 [M, N R, I]."""
    return np.stack([np.concatenate([member[pair.a] for member in members]) for pair in group]).astype(np.float64)


def canonical_factors(
    members: Sequence[Tensors], pair: LowRankPair, limit: int, leading: tuple[Array, Array, Array]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A [R, I] and B [O, R] in canonical form: singular values descending, the largest entry of each row of A positive.

    A keeps orthogonal rows of the length that the members' rows have on average (quadratic mean), B carries the
    singular values. So the next round trains at the scale that this one did, also where a singular value vanishes.
    """
    left, sizes, right = leading
    rank = members[0][pair.a].shape[0]
    if limit > rank:
        raise ValueError(f"the aggregate's rank {limit} exceeds the adapter's rank {rank}")
    rows = np.concatenate([member[pair.a] for member in members]).astype(np.float64)
    length = float(frobenius(rows)) / float(np.sqrt(rows.shape[0])) or 1.0
    a, b = np.zeros(members[0][pair.a].shape), np.zeros(members[0][pair.b].shape)
    kept = min(rank, len(sizes))
    direction, image = right[:, :kept].T, (left[:, :kept] * sizes[:kept]).T
    peak = np.take_along_axis(direction, np.abs(direction).argmax(1)[:, None], 1)
    sign = np.where(peak < 0, -1.0, 1.0)
    a[:kept], b[:, :kept] = direction * sign * length, (image * sign / length).T
    if limit:
        b[:, limit:] = 0.0
    return narrowed(a), narrowed(b)


def narrowed(values: Array) -> NDArray[np.float32]:
    """As float32, where what is larger becomes the largest: a hostile member's values near the end of the range must
    not become infinite in everybody's next adapter."""
    return np.asarray(np.clip(values, -_LARGEST, _LARGEST).astype(np.float32))
