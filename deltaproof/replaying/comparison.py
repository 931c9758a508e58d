"""When a committed gradient agrees with the recomputed one.

`exact`: the committed float32 value is the recomputed float64 value rounded once, or a neighbour that float64 noise
explains: the recomputed value lies within `TIE_NOISE` (relative to the root mean square of its tensor or of the whole
gradient) of the midpoint. `bounded`: L2 differences per tensor and as a whole, relative to the gradient's norm, stay
below the spec's bounds. Where the rows of a batch cancel, rounding is relative to what was summed, not to what is left:
`RowNorms` supplies that scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.rules import TIE_NOISE
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.tuning.training.workbench import RowNorms

__all__ = ["Agreement", "Wide", "compare_bounded", "compare_exact"]

Wide = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """`magnitude` is the worst difference in the unit of `bound`; `tensor` is where it occurred."""

    magnitude: float
    bound: float
    tensor: str
    near_ties: int = 0

    @property
    def agrees(self) -> bool:
        return self.magnitude <= self.bound


def compare_exact(committed: Vector, recomputed: Wide, layout: Layout) -> Agreement:
    """Magnitude: the largest excess over half a float32 step, in units of the tolerated noise; bound 1."""
    rounded = recomputed.astype(np.float32)
    differs = np.flatnonzero(rounded != committed)
    if differs.size == 0:
        return Agreement(0.0, 1.0, "")
    noise = TIE_NOISE * _scales(recomputed, layout)[differs]
    half_step = 0.5 * np.maximum(np.spacing(np.abs(rounded[differs])), np.spacing(np.abs(committed[differs])))
    excess = np.abs(committed[differs].astype(np.float64) - recomputed[differs]) - half_step.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(excess <= 0.0, 0.0, excess / noise)
    worst = int(np.argmax(units))
    return Agreement(float(units[worst]), 1.0, _tensor_at(layout, int(differs[worst])), int(differs.size))


def compare_bounded(
    committed: Vector, recomputed: Wide, layout: Layout, training: TrainingSection, rows: RowNorms | None = None
) -> Agreement:
    """Magnitude and bound: the relative L2 difference that comes closest to, or exceeds, its bound.

    A tensor whose recomputed gradient is exactly zero (B = 0 in LoRA's first step) must be committed as zero: Adam
    would turn the smallest push there into a full step.
    """
    difference = committed.astype(np.float64) - recomputed
    norm = float(np.linalg.norm(recomputed))
    whole = max(norm, rows.whole if rows else 0.0)
    total = _ratio(float(np.linalg.norm(difference)), whole)
    worst = (total / training.bound_total, total, training.bound_total, "the whole gradient")
    for name, where in layout.slices.items():
        own = float(np.linalg.norm(recomputed[where]))
        floor = training.bound_floor * whole if own else 0.0
        scale = max(own, floor, rows.tensors[name] if rows else 0.0)
        share = _ratio(float(np.linalg.norm(difference[where])), scale)
        worst = max(worst, (share / training.bound_tensor, share, training.bound_tensor, name))
    _, magnitude, bound, tensor = worst
    return Agreement(magnitude, bound, tensor)


def _scales(recomputed: Wide, layout: Layout) -> Wide:
    """Root mean square of each value's tensor, or of the whole gradient if that is larger, shape (P,)."""
    scales = np.full(recomputed.shape, _rms(recomputed))
    for where in layout.slices.values():
        scales[where] = np.maximum(scales[where], _rms(recomputed[where]))
    return scales


def _rms(values: Wide) -> float:
    return float(np.linalg.norm(values)) / math.sqrt(max(values.size, 1))


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0.0:
        return 0.0 if numerator == 0.0 else math.inf
    return numerator / denominator


def _tensor_at(layout: Layout, index: int) -> str:
    return next(name for name, where in layout.slices.items() if where.start <= index < where.stop)
