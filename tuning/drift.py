"""Bounded mode: do a trainer's gradient differences look like rounding, or like a push in one direction?

Each sampled step gives a difference d = committed - recomputed. Rounding noise mostly averages out, a steady push does
not, and the trainer cannot know which steps are sampled. The size of the steady part is estimated without bias from
pairs, `steady² = mean over i ≠ j of <d_i, d_j>`; a push along the gradient itself shows in `mean <d_i, h_i/‖h_i‖>`.
Rounding is not free of bias either: where a model has a few huge activations, two honest machines differ in a direction
that all steps share. So the yardstick is the verifier's own rounding on the same batches, measured, not assumed:
both sizes must stay below `(1 + drift_sigmas / sqrt(K)) * noise` for K samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocol.state import Vector

__all__ = ["DriftSample", "DriftVerdict", "judge_drift"]


@dataclass(frozen=True)
class DriftSample:
    """One step's difference, shape (P,), the norm of the recomputed gradient, and, where it was measured, the L2 norm
    of the verifier's own rounding on this batch."""

    difference: Vector
    along: float
    """<difference, gradient> / norm."""
    norm: float
    noise: float | None = None


@dataclass(frozen=True)
class DriftVerdict:
    """`steady`, `along`, `noise` and `limit` are relative to the root mean square of the gradients' norms."""

    accepted: bool
    message: str
    samples: int
    steady: float
    along: float
    noise: float
    limit: float

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return dict(vars(self))


def judge_drift(samples: Sequence[DriftSample], sigmas: float) -> DriftVerdict:
    """Judge all sampled steps of one trainer's round, in step order. Raises ValueError if no sample measured noise."""
    measured = [sample.noise for sample in samples if sample.noise is not None]
    if not measured:
        raise ValueError("the drift test needs the verifier's own rounding noise on at least one sample")
    count = len(samples)
    unit = _root_mean_square([sample.norm for sample in samples]) or 1.0
    noise = _root_mean_square(measured) / unit
    limit = (1.0 + sigmas / math.sqrt(count)) * noise
    steady = _steady(samples) / unit if count > 1 else 0.0
    along = abs(sum(sample.along for sample in samples)) / count / unit
    worst = max(steady, along)
    if worst <= limit:
        message = f"over {count} steps the differences look like rounding"
    else:
        kind = "in one direction" if steady >= along else "along the gradient"
        message = (
            f"over {count} steps the gradients lean {kind} by {worst:.3g} of their norm; rounding explains {limit:.3g}"
        )
    return DriftVerdict(worst <= limit, message, count, steady, along, noise, limit)


def _root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(sum(value**2 for value in values) / len(values))


def _steady(samples: Sequence[DriftSample]) -> float:
    total = np.zeros(samples[0].difference.shape)
    squares = 0.0
    for sample in samples:
        total += sample.difference
        squares += float(np.square(sample.difference, dtype=np.float64).sum())
    count = len(samples)
    pairs = float(np.dot(total, total)) - squares
    return math.sqrt(max(pairs, 0.0) / (count * (count - 1)))
