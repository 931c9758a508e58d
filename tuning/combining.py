"""A task's adapters as vectors, made one by the task's method and rule."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.state import Vector
from tuning.aggregation import AggregationRule, Tensors, aggregate
from tuning.low_rank import tensors_of, vector_of
from tuning.workbench import Workbench

__all__ = ["aggregate_thetas", "members_of"]


def members_of(bench: Workbench, thetas: Sequence[Vector]) -> list[Tensors]:
    """The adapters, shape (P,) each, as the tensors that are aggregated and compared (`Method.unfold`).

    Raises EncodingError for a vector that does not fit.
    """
    return [bench.method.unfold(tensors_of(bench.layout, theta)) for theta in thetas]


def aggregate_thetas(bench: Workbench, thetas: Sequence[Vector], weights: Sequence[int] | None) -> tuple[Vector, float]:
    """The adapter that the task's rule makes of these, shape (P,), and its truncation error."""
    section, layout = bench.spec.aggregation, bench.layout
    rule = AggregationRule(section.rule, section.trim_fraction, section.byzantine, section.rank)
    members = members_of(bench, thetas)
    result = aggregate(members, bench.pairs, rule, weights)
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    return vector_of(layout, bench.method.fold(result.tensors, members, shapes)), result.truncation_error
