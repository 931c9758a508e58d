"""When a committed gradient agrees with the recomputed one.

`exact`: the committed float32 value is the recomputed float64 value rounded once, or a neighbour that float64 noise
explains: the recomputed value lies within `TIE_NOISE` (relative to the root mean square of its tensor or of the whole
gradient) of the midpoint. `bounded`: relative L2 differences per tensor and as a whole stay below the spec's bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from protocol.spec import TrainingSection
from protocol.state import Layout, Vector

__all__ = ["TIE_NOISE", "Agreement", "compare_bounded", "compare_exact", "compare_gradients"]

TIE_NOISE = 2.0**-36
"""Float64 noise of a gradient value, relative to a root mean square: 1.5e-11."""

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """`magnitude` is the worst difference in the unit of `bound`; `tensor` is where it occurred."""

    agrees: bool
    magnitude: float
    bound: float
    tensor: str
    near_ties: int = 0
    relative: float = field(default=0.0)
    """L2 difference relative to the whole gradient's norm."""


def compare_gradients(committed: Vector, recomputed: Wide, layout: Layout, training: TrainingSection) -> Agreement:
    """Judge a committed gradient, shape (P,), by the task's numeric mode."""
    if training.numeric == "exact":
        return compare_exact(committed, recomputed, layout)
    return compare_bounded(committed, recomputed, layout, training)


def compare_exact(committed: Vector, recomputed: Wide, layout: Layout) -> Agreement:
    """Magnitude: the largest excess over half a float32 step, in units of the tolerated noise; bound 1."""
    rounded = recomputed.astype(np.float32)
    differs = np.flatnonzero(rounded != committed)
    relative = _relative(committed, recomputed)
    if differs.size == 0:
        return Agreement(True, 0.0, 1.0, "", 0, relative)
    noise = TIE_NOISE * _scales(recomputed, layout)[differs]
    half_step = 0.5 * np.maximum(np.spacing(np.abs(rounded[differs])), np.spacing(np.abs(committed[differs])))
    excess = np.abs(committed[differs].astype(np.float64) - recomputed[differs]) - half_step.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(excess <= 0.0, 0.0, excess / noise)
    worst = int(np.argmax(units))
    magnitude = float(units[worst])
    return Agreement(
        magnitude <= 1.0, magnitude, 1.0, _tensor_at(layout, int(differs[worst])), int(differs.size), relative
    )


def compare_bounded(committed: Vector, recomputed: Wide, layout: Layout, training: TrainingSection) -> Agreement:
    """Magnitude and bound: the relative L2 difference that comes closest to, or exceeds, its bound."""
    difference = committed.astype(np.float64) - recomputed
    whole = float(np.linalg.norm(recomputed))
    total = _ratio(float(np.linalg.norm(difference)), whole)
    worst = (total / training.bound_total, total, training.bound_total, "the whole gradient")
    for name, where in layout.slices.items():
        norm = max(float(np.linalg.norm(recomputed[where])), training.bound_floor * whole)
        share = _ratio(float(np.linalg.norm(difference[where])), norm)
        worst = max(worst, (share / training.bound_tensor, share, training.bound_tensor, name))
    strain, magnitude, bound, tensor = worst
    return Agreement(strain <= 1.0, magnitude, bound, tensor, 0, total)


def _scales(recomputed: Wide, layout: Layout) -> Wide:
    """Root mean square of each value's tensor, or of the whole gradient if that is larger, shape (P,)."""
    scales = np.full(recomputed.shape, _rms(recomputed))
    for where in layout.slices.values():
        scales[where] = np.maximum(scales[where], _rms(recomputed[where]))
    return scales


def _rms(values: Wide) -> float:
    return float(np.linalg.norm(values)) / math.sqrt(max(values.size, 1))


def _relative(committed: Vector, recomputed: Wide) -> float:
    return _ratio(float(np.linalg.norm(committed - recomputed)), float(np.linalg.norm(recomputed)))


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0.0:
        return 0.0 if numerator == 0.0 else math.inf
    return numerator / denominator


def _tensor_at(layout: Layout, index: int) -> str:
    return next(name for name, where in layout.slices.items() if where.start <= index < where.stop)
