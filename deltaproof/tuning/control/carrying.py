"""An adapter from one rank to another, for the next step of a controlled federation."""

from __future__ import annotations

import numpy as np

from deltaproof.protocol.evidence.state import Vector
from deltaproof.tuning.combining.aggregation import AggregationRule, aggregate
from deltaproof.tuning.combining.mixing import members_of
from deltaproof.tuning.errors import MethodError
from deltaproof.tuning.methods.low_rank import tensors_of, vector_of
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["carried"]


def carried(theta: Vector, before: Workbench, after: Workbench) -> Vector:
    """The adapter, shape (P,) of `before`, as a starting adapter of `after`, shape (P',). Same bits on every machine.

    Products are cut to the leading part that the new rank holds. Where it holds more, the new rows of A are those that
    the new task's seed gives and the new columns of B are zero, so that they change nothing and can learn. With the
    same layout the adapter stays as it is. Raises MethodError unless both are plain LoRA with one scale.
    """
    if before.layout == after.layout:
        return theta
    old, new = ({pair.module: pair for pair in bench.pairs} for bench in (before, after))
    if not old or {m: p.scale for m, p in old.items()} != {m: p.scale for m, p in new.items()}:
        raise MethodError("only adapters of low rank with the same modules and scale change their rank")
    leading = aggregate(members_of(before, [theta]), before.pairs, AggregationRule()).tensors
    tensors = {name: np.array(value) for name, value in tensors_of(after.layout, after.start).items()}
    paired = {name for pair in new.values() for name in (pair.a, pair.b)}
    for name in sorted(set(tensors) - paired):
        if name not in leading or leading[name].shape != tensors[name].shape:
            raise MethodError(f"{name} has another shape at the other rank")
        tensors[name] = np.asarray(leading[name], np.float32)
    for module, pair in new.items():
        a, b = leading[old[module].a], leading[old[module].b]
        rank = min(len(a), len(tensors[pair.a]))
        tensors[pair.b][:] = 0.0
        tensors[pair.a][:rank], tensors[pair.b][:, :rank] = a[:rank], b[:, :rank]
    return vector_of(after.layout, tensors)
