"""A task's adapters as vectors, made one by the task's method and rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.aggregation import Aggregate, AggregationRule, Tensors, aggregate, module_grams
from deltaproof.tuning.methods.low_rank import tensors_of, vector_of
from deltaproof.tuning.numerics.linalg import tree_sum
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["aggregate_thetas", "masks_of", "members_of"]


def masks_of(tuned: Sequence[Mask | None]) -> list[Mask] | None:
    """What each trainer tuned, as `aggregate_thetas` takes it. Raises ValueError if only some have a mask."""
    masks = [mask for mask in tuned if mask is not None]
    if masks and len(masks) != len(tuned):
        raise ValueError(f"{len(masks)} masks for {len(tuned)} trainers")
    return masks or None


def members_of(bench: Workbench, thetas: Sequence[Vector]) -> list[Tensors]:
    """The adapters, shape (P,) each, as the tensors that are aggregated and compared (`Method.unfold`).

    Raises EncodingError for a vector that does not fit.
    """
    return [bench.method.unfold(tensors_of(bench.layout, theta)) for theta in thetas]


def aggregate_thetas(
    bench: Workbench,
    thetas: Sequence[Vector],
    weights: Sequence[int] | None,
    tuned: Sequence[Mask] | None = None,
) -> tuple[Vector, float]:
    """The adapter that the task's rule makes of these, shape (P,), and its truncation error.

    That is the relative Frobenius norm of what the method's form cannot hold of the combined products, or of the
    combined changes that it makes sparse.

    Under federated dropout `tuned` says which values each trainer tuned (`DeltaCodec.mask`), and a value is the mean
    over those who tuned it. Raises ValueError if masks are missing, or given where everybody tunes everything.
    """
    section, layout = bench.spec.aggregation, bench.layout
    rule = AggregationRule(section.rule, section.trim_fraction, section.byzantine, section.rank)
    members = members_of(bench, thetas)
    if bench.codec.partial != (tuned is not None):
        raise ValueError(f"codec {bench.spec.codec.name}: masks of what each trainer tuned, or no masks, are expected")
    shared = members if tuned is None else _by_share(bench, members, weights, tuned)
    result = aggregate(shared, bench.pairs, rule, weights)
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    theta = vector_of(layout, bench.method.fold(result.tensors, members, shapes))
    return theta, _lost(bench, result, members_of(bench, [theta])[0])


def _lost(bench: Workbench, result: Aggregate, folded: Tensors) -> float:
    """What refactoring to the rank lost, and what folding to the method's form lost after that.

    Both drop triplets or entries of what they are given, so their squares add up.
    """
    pairs = {name for pair in bench.pairs for name in (pair.a, pair.b)}
    formed = sorted(pairs | {name for name in result.tensors if name.endswith(bench.method.shortened)})
    before, after = ({name: tensors[name] for name in formed} for tensors in (result.tensors, folded))
    if not formed:
        return 0.0
    dropped = tree_sum(module_grams([after], bench.pairs, before)[:, 0, 0], 0)
    others = {name: values for name, values in before.items() if name not in pairs}
    whole = result.norm**2 + (tree_sum(module_grams([others], ())[:, 0, 0], 0) if others else 0.0)
    missing = (result.truncation_error * result.norm) ** 2 + max(float(dropped), 0.0)
    return float(np.sqrt(missing / whole)) if whole else 0.0


def _by_share(
    bench: Workbench, members: Sequence[Tensors], weights: Sequence[int] | None, tuned: Sequence[Mask]
) -> list[Tensors]:
    """Members whose weighted mean is, value by value, the mean over those who tuned it.

    A value of a member is multiplied by (its share among those who tuned the value) / (its share among all). What
    nobody tuned is the start's in every member and stays the plain mean. Of a low-rank pair only B is multiplied, a
    rank at a time: sum_i p_i B_i A_i then has each rank's products of those who tuned that rank.
    """
    counts = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
    masks = np.stack(tuned)
    among = tree_sum(np.where(masks, counts[:, None], 0.0), 0)
    factors = np.where(among > 0, masks * (counts.sum() / np.where(among > 0, among, 1.0)), 1.0)
    left = {pair.a for pair in bench.pairs}
    scaled: list[Tensors] = []  # in float64: rounded once, after the mean
    for member, factor in zip(members, factors, strict=True):
        parts = {name: factor[where] for name, where in bench.layout.slices.items()}
        scaled.append(
            {
                name: values.astype(np.float64) * (1.0 if name in left else parts[name].reshape(values.shape))
                for name, values in member.items()
            }
        )
    return scaled
