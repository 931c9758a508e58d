"""From many adapters to one: aggregation in product space, re-factorised to the adapter's rank.

A LoRA adapter means its products scale * B A, not its factors: the mean of A and B apart is not the mean adapter, and
(B R)(R^-1 A) is the same adapter as B A. So low-rank pairs are aggregated as products; every other tensor (a head, a
bias) is aggregated value by value. Results have the same bits on every IEEE-754 machine (see `_linalg`), because the
component root of the aggregate is the next round's starting digest.

Rules: weighted mean; coordinate-wise median and trimmed mean (Yin et al. 2018); multi-Krum (Blanchard et al. 2017).

Legend: N members, R rank of one adapter, O x I shape of a product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deltaproof.tuning.numerics.linalg import Array, matmul, tree_sum
from deltaproof.tuning.numerics.products import (
    LowRankPair,
    Tensors,
    canonical_factors,
    leading_of_dense,
    leading_of_mean,
    module_grams,
    same_shape,
)

__all__ = [
    "Aggregate",
    "AggregationRule",
    "Array",
    "LowRankPair",
    "Tensors",
    "aggregate",
    "mixture_weights",
    "module_grams",
]

RuleName = Literal["mean", "median", "trimmed_mean", "multi_krum"]

_BLOCK_VALUES = 4_000_000
"""Products held at once by the coordinate-wise rules (32 MB)."""
_MEANS = ("mean", "multi_krum")
"""Rules whose result is a mean of members, once those are selected."""


@dataclass(frozen=True, slots=True)
class AggregationRule:
    """How members are combined, as the spec says.

    `trim_fraction` of the weight is cut off at each end by `trimmed_mean`, to the fraction of a member. `byzantine` is
    the number of hostile members that `multi_krum` tolerates; with fewer than 2 * byzantine + 3 members it tolerates
    as many as that bound allows. `rank` limits the rank of the result; 0 keeps the adapter's.
    """

    name: RuleName = "mean"
    trim_fraction: float = 0.1
    byzantine: int = 0
    rank: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.trim_fraction < 0.5:
            raise ValueError(f"trim_fraction {self.trim_fraction} is outside [0, 0.5)")
        if self.byzantine < 0 or self.rank < 0:
            raise ValueError("byzantine and rank must not be negative")


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The combined adapter.

    `truncation_error` is the relative Frobenius norm of what re-factorising to the rank lost, over all pairs, whose
    own norm is `norm`; `by_module` the same for each. `selected` lists the members that took part (all, except under
    multi-Krum).
    """

    tensors: dict[str, NDArray[np.float32]]
    truncation_error: float
    by_module: dict[str, float]
    norm: float
    selected: tuple[int, ...]


def aggregate(
    members: Sequence[Tensors],
    pairs: Sequence[LowRankPair],
    rule: AggregationRule | None = None,
    weights: Sequence[int] | None = None,
) -> Aggregate:
    """Combine adapters of equal names and shapes into one.

    Args:
        members: the adapters, in leaf order.
        pairs: which tensors belong together.
        rule: defaults to the mean.
        weights: one positive integer per member (row counts); None weighs all alike.

    Raises ValueError for no members, unequal shapes, values that are not finite, or weights that are not positive.
    """
    rule = rule or AggregationRule()
    counts = _checked_weights(len(members), weights)
    _check_members(members, pairs)
    if rule.name == "multi_krum":
        chosen = _krum_selection(tree_sum(module_grams(members, pairs), 0), rule.byzantine)
        members, counts = [members[i] for i in chosen], counts[chosen]
    else:
        chosen = np.arange(len(members))
    tensors: dict[str, NDArray[np.float32]] = {}
    paired = {name for pair in pairs for name in (pair.a, pair.b)}
    for name in sorted(set(members[0]) - paired):
        stack = np.stack([member[name] for member in members]).astype(np.float64)
        tensors[name] = _combine(stack, counts, rule).astype(np.float32)
    lost, whole, by_module = 0.0, 0.0, {}
    for group in same_shape(members[0], pairs):
        if rule.name in _MEANS:
            leading = leading_of_mean(members, group, counts)
        else:
            dense = np.stack([_combined_product(members, pair, counts, rule) for pair in group])
            leading = leading_of_dense(dense, members, group)
        for m, pair in enumerate(group):
            tensors[pair.a], tensors[pair.b] = canonical_factors(members, pair, rule.rank, leading.of(m))
            kept = rule.rank or members[0][pair.a].shape[0]
            missing = float(tree_sum(leading.sizes[m, kept:] ** 2, 0) + leading.outside[m])
            total = float(tree_sum(leading.sizes[m] ** 2, 0) + leading.outside[m])
            by_module[pair.module] = float(np.sqrt(missing / total)) if total else 0.0
            lost, whole = lost + pair.scale**2 * missing, whole + pair.scale**2 * total
    error = float(np.sqrt(lost / whole)) if whole else 0.0
    selected = tuple(int(i) for i in chosen)
    return Aggregate(tensors, error, dict(sorted(by_module.items())), float(np.sqrt(whole)), selected)


def mixture_weights(coalitions: NDArray[np.bool_], weights: Sequence[int] | None = None) -> Array:
    """Share of each member in each coalition's mean: float64 [coalitions, N]; the empty coalition's row is zero."""
    counts = _checked_weights(coalitions.shape[1], weights)
    present = np.where(coalitions, counts, 0)
    total = present.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(present, total, out=np.zeros(present.shape), where=total > 0))


def _combined_product(
    members: Sequence[Tensors], pair: LowRankPair, counts: NDArray[np.int64], rule: AggregationRule
) -> Array:
    """The members' products B A combined coordinate by coordinate, in blocks of rows; the scale is left out."""
    a = np.stack([member[pair.a] for member in members]).astype(np.float64)
    b = np.stack([member[pair.b] for member in members]).astype(np.float64)
    step = max(1, _BLOCK_VALUES // (a.shape[0] * a.shape[2]))
    blocks = [_combine(matmul(b[:, i : i + step], a), counts, rule) for i in range(0, b.shape[1], step)]
    return np.concatenate(blocks)


def _combine(stack: Array, counts: NDArray[np.int64], rule: AggregationRule) -> Array:
    """[N, ...] to [...], coordinate by coordinate."""
    weight = counts.reshape(-1, *[1] * (stack.ndim - 1))
    if rule.name in _MEANS:
        return tree_sum(weight / counts.sum() * stack, 0)
    # Stable, so that equal values keep the members' order and the sums below their bits.
    order = np.argsort(stack, axis=0, kind="stable")
    values = np.take_along_axis(stack, order, 0)
    below = np.cumsum(np.take_along_axis(np.broadcast_to(weight, stack.shape), order, 0), axis=0)
    total = int(counts.sum())
    if rule.name == "median":
        lower = np.take_along_axis(values, (2 * below >= total).argmax(0)[None], 0)[0]
        upper = np.take_along_axis(values, (2 * below > total).argmax(0)[None], 0)[0]
        return np.asarray((lower + upper) / 2)
    start = np.concatenate([np.zeros_like(below[:1]), below[:-1]])
    low, high = rule.trim_fraction * total, (1 - rule.trim_fraction) * total
    inside = np.maximum(np.minimum(below, high) - np.maximum(start, low), 0.0)
    return tree_sum(inside / (high - low) * values, 0)


def _krum_selection(gram: Array, byzantine: int) -> NDArray[np.intp]:
    """The n - f members with the least sum of squared distances to their n - f - 2 nearest, in member order."""
    size = len(gram)
    # With fewer than 2 f + 3 members the rule promises nothing about f hostile ones (Blanchard et al., proposition 1).
    tolerated = max(0, min(byzantine, (size - 3) // 2))
    if tolerated == 0:
        return np.arange(size)
    squares = np.diag(gram)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0)
    np.fill_diagonal(distances, np.inf)
    nearest = np.sort(distances, axis=1)[:, : size - tolerated - 2]
    return np.sort(np.argsort(tree_sum(nearest, 1), kind="stable")[: size - tolerated])


def _checked_weights(size: int, weights: Sequence[int] | None) -> NDArray[np.int64]:
    counts = np.ones(size, np.int64) if weights is None else np.asarray(weights, np.int64)
    if size == 0 or counts.shape != (size,) or (counts <= 0).any() or (counts > 2**31).any():
        raise ValueError(f"{size} members need as many weights from 1 to 2^31, not {weights}")
    return counts


def _check_members(members: Sequence[Tensors], pairs: Sequence[LowRankPair]) -> None:
    shapes = {name: value.shape for name, value in members[0].items()}
    for i, member in enumerate(members):
        if {name: value.shape for name, value in member.items()} != shapes:
            raise ValueError(f"member {i} has other tensors than member 0")
        for name, value in member.items():
            if not np.isfinite(value).all():
                raise ValueError(f"{name} of member {i} is not finite")
    for pair in pairs:
        a, b = shapes.get(pair.a, ()), shapes.get(pair.b, ())
        if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            raise ValueError(f"{pair.module}: {pair.b} {b} times {pair.a} {a} is no product")
