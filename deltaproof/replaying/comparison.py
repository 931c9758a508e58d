"""When a committed gradient agrees with the recomputed one.

`exact`: the committed float32 value is the recomputed float64 value rounded once, or a neighbour that float64 noise
explains: the recomputed value lies within `TIE_NOISE` (relative to the root mean square of its tensor or of the whole
gradient) of the midpoint. `bounded`: L2 differences per tensor and as a whole, relative to the gradient's norm, stay
below the spec's bounds. Where the rows of a batch cancel, rounding is relative to what was summed, not to what is left:
`RowNorms` supplies that scale. Where numbers cancel inside a row, `rounding_norms` says what rounding comes to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.rules import NOISE_FLOOR, OWN_ROUNDING_SHARE, ROUNDING_MARGIN, TIE_NOISE, TIE_STEP
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.tuning.training.workbench import RowNorms

__all__ = [
    "Agreement",
    "Wide",
    "compare_bounded",
    "compare_exact",
    "invented",
    "norms_of",
    "rounding_norms",
    "tie_noise",
]

Wide = NDArray[np.float64]
"""float64, for what float32 would round."""


@dataclass(frozen=True)
class Agreement:
    """`magnitude` is the worst difference as a share of what is allowed there, times `bound`; `tensor` is where."""

    magnitude: float
    bound: float
    tensor: str
    near_ties: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the difference is within its bound."""
        return self.magnitude <= self.bound


def compare_exact(
    committed: Vector,
    recomputed: Wide,
    layout: Layout,
    stride: Wide | None = None,
    rounding: Wide | None = None,
) -> Agreement:
    """Magnitude: the largest excess over half a float32 step, in units of the tolerated noise; bound 1.

    `stride` and `rounding`: see `tie_noise`.
    """
    rounded = recomputed.astype(np.float32)
    differs = np.flatnonzero(rounded != committed)
    if differs.size == 0:
        return Agreement(0.0, 1.0, "")
    noise = tie_noise(recomputed, layout, stride, rounding)[differs]
    half_step = 0.5 * np.maximum(np.spacing(np.abs(rounded[differs])), np.spacing(np.abs(committed[differs])))
    excess = np.abs(committed[differs].astype(np.float64) - recomputed[differs]) - half_step.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(excess <= 0.0, 0.0, excess / noise)
    worst = int(np.argmax(units))
    return Agreement(float(units[worst]), 1.0, _tensor_at(layout, int(differs[worst])), int(differs.size))


def tie_noise(recomputed: Wide, layout: Layout, stride: Wide | None = None, rounding: Wide | None = None) -> Wide:
    """How far beyond half a float32 step a value may lie and still be a near tie, shape (P,).

    `stride`, shape (P,), is the gradient that the optimiser makes a full step of: noise is less than `TIE_STEP` of it.
    `rounding`, shape (P,), is what rounding in float64 may do to each value: `ROUNDING_MARGIN` times it is noise, too.
    """
    noise = TIE_NOISE * _scales(recomputed, layout)
    if rounding is not None:
        noise = np.maximum(noise, ROUNDING_MARGIN * rounding)
    if stride is not None:
        noise = np.minimum(noise, TIE_STEP * stride)
    return noise


def compare_bounded(
    committed: Vector,
    recomputed: Wide,
    layout: Layout,
    training: TrainingSection,
    rows: RowNorms | None = None,
    rounding: RowNorms | None = None,
) -> Agreement:
    """Magnitude and bound: the L2 difference that comes closest to, or exceeds, what is allowed.

    That is the bound times the scale, or `ROUNDING_MARGIN` times what `rounding` may do there. A tensor whose
    recomputed gradient is exactly zero (B = 0 in LoRA's first step) must be committed as zero: Adam would turn the
    smallest push there into a full step.
    """
    difference = committed.astype(np.float64) - recomputed
    whole = max(float(np.linalg.norm(recomputed)), rows.whole if rows else 0.0)
    explained = ROUNDING_MARGIN * rounding.whole if rounding else 0.0
    total = _ratio(float(np.linalg.norm(difference)), max(training.bound_total * whole, explained))
    worst = (total, training.bound_total, "the whole gradient")
    for name, where in layout.slices.items():
        own = float(np.linalg.norm(recomputed[where]))
        floor = training.bound_floor * whole if own else 0.0
        scale = max(own, floor, rows.tensors[name] if rows else 0.0)
        explained = ROUNDING_MARGIN * rounding.tensors[name] if rounding else 0.0
        share = _ratio(float(np.linalg.norm(difference[where])), max(training.bound_tensor * scale, explained))
        worst = max(worst, (share, training.bound_tensor, name))
    share, bound, tensor = worst
    return Agreement(share * bound, bound, tensor)


def invented(committed: Vector, recomputed: Wide) -> NDArray[np.int64]:
    """Indices of values that are committed where the recomputed gradient is exactly zero."""
    return np.flatnonzero((recomputed == 0.0) & (committed != 0.0))


def norms_of(values: Wide, layout: Layout) -> RowNorms:
    """L2 norm as a whole and by tensor."""
    tensors = {name: float(np.linalg.norm(values[where])) for name, where in layout.slices.items()}
    return RowNorms(float(np.linalg.norm(values)), tensors)


def rounding_norms(drawn: Sequence[RowNorms], own: RowNorms, layout: Layout) -> RowNorms:
    """What one rounding of every operation may do to a gradient, as a whole and by tensor.

    The largest of what the random draws did, and `OWN_ROUNDING_SHARE` of the verifier's own float32 rounding, which
    adds up many. A tensor that all of them spared by chance gets `NOISE_FLOOR` of its part of the whole.
    """
    whole = max(OWN_ROUNDING_SHARE * own.whole, *(norms.whole for norms in drawn))
    tensors = {}
    for name, where in layout.slices.items():
        seen = max(OWN_ROUNDING_SHARE * own.tensors[name], *(norms.tensors[name] for norms in drawn))
        part = NOISE_FLOOR * whole * math.sqrt((where.stop - where.start) / layout.size)
        tensors[name] = max(seen, part) if seen else 0.0
    return RowNorms(whole, tensors)


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
