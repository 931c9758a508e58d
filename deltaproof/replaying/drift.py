"""Bounded mode: do a trainer's gradient differences look like rounding, or like a push in one direction?

Each sampled step gives a difference d = committed - recomputed. Rounding noise mostly averages out, a steady push does
not, and the trainer cannot know which steps are sampled. The size of the steady part is estimated without bias from
pairs, `steady² = mean over i ≠ j of <d_i, d_j>`; a push along the gradient itself shows in `mean <d_i, h_i/‖h_i‖>`.
Rounding is not free of bias either: where a model has a few huge activations, two honest machines differ in a
direction that all steps share. So the yardstick is the verifier's own rounding on the same batches, measured, not
assumed: each size must stay below `(1 + drift_sigmas / sqrt(K)) * noise` for K samples. Other honest machines may round
ten times as coarsely as the verifier's in some shapes of batches (one MKL code path against another), so the noise
counts for at least `STEADY_SHARE` of the bound that the task's calibration gave for a single step.

All of this is asked twice, of the whole and of each tensor: of the gradients as they are, and of what the optimiser
makes of them. Adam moves a value with a small gradient as far as one with a large gradient, so a push on a few small
values drowns in the noise of its tensor and still arrives. Divided by each value's *stride*, the gradient of which the
optimiser makes a full step, it does not drown: the size is then the number of full steps that all samples share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.rules import NOISE_FLOOR, STEADY_SHARE
from deltaproof.protocol.terms.spec import TrainingSection
from deltaproof.replaying.comparison import Wide

__all__ = ["DriftSample", "DriftVerdict", "judge_drift", "noise_steps"]


@dataclass(frozen=True)
class DriftSample:
    """One step's difference, shape (P,), the norms of the recomputed gradient, and, where it was measured, the L2 norm
    of the verifier's own rounding on this batch; norms as a whole and by tensor in the layout's order.

    `stride`, shape (P,), is the gradient of each value that the optimiser makes a full step of; None if it is the same
    for all. `rounding` is the verifier's own, shape (P,), where there is a stride and it was measured.
    """

    difference: Vector
    along: float
    """<difference, gradient> / norm."""
    norm: float
    tensor_norms: tuple[float, ...]
    noise: float | None = None
    tensor_noise: tuple[float, ...] = ()
    stride: Vector | None = None
    rounding: Vector | None = None

    @classmethod
    def of(
        cls, committed: Vector, recomputed: Wide, noise: Wide | None, layout: Layout, stride: Wide | None = None
    ) -> DriftSample:
        """Of one step's gradients, shape (P,); `noise` is the verifier's own rounding, where it was measured."""
        norm = float(np.linalg.norm(recomputed))
        difference = committed - recomputed
        along = float(np.dot(difference, recomputed)) / norm if norm else 0.0
        sample = cls(difference.astype(np.float32), along, norm, _by_tensor(recomputed, layout))
        if stride is not None:
            sample = replace(sample, stride=stride.astype(np.float32))
        if noise is None:
            return sample
        rounding = None if stride is None else noise.astype(np.float32)
        return replace(
            sample, noise=float(np.linalg.norm(noise)), tensor_noise=_by_tensor(noise, layout), rounding=rounding
        )


@dataclass(frozen=True)
class DriftVerdict:
    """`magnitude` is the largest size in units of its limit. `steady`, `along` and `noise` are those of the whole
    gradient, relative to the root mean square of the gradients' norms."""

    accepted: bool
    message: str
    samples: int
    magnitude: float
    where: str
    steady: float
    along: float
    noise: float

    def as_dict(self) -> dict[str, object]:
        """The verdict as JSON values."""
        return {**vars(self), "magnitude": self.magnitude if math.isfinite(self.magnitude) else None}


def noise_steps(steps: Sequence[int]) -> frozenset[int]:
    """The sampled steps on which a verifier measures its own rounding: first, middle and last, because gradients and
    their noise change as training goes on."""
    return frozenset({steps[0], steps[len(steps) // 2], steps[-1]}) if steps else frozenset()


def judge_drift(samples: Sequence[DriftSample], training: TrainingSection, layout: Layout) -> DriftVerdict:
    """Judge all sampled steps of one trainer's round, in step order. Raises ValueError if no sample measured noise."""
    measured = [sample for sample in samples if sample.noise is not None]
    if not measured:
        raise ValueError("the drift test needs the verifier's own rounding noise on at least one sample")
    count = len(samples)
    allowance = 1.0 + training.drift_sigmas / math.sqrt(count)
    unit = _root_mean_square([sample.norm for sample in samples])
    noise = _root_mean_square([sample.noise or 0.0 for sample in measured])
    limit = allowance * max(noise, STEADY_SHARE * training.bound_total * unit)
    total, squares = _sums([sample.difference for sample in samples], layout)
    steady = _steady(total, sum(squares.values()), count)
    along = abs(sum(sample.along for sample in samples)) / count
    sizes = {"in one direction": _share(steady, limit), "along the gradient": _share(along, limit)}
    for number, (name, where) in enumerate(layout.slices.items()):
        # A tensor without gradient (LoRA's A in the first step) has no noise to measure there.
        own = _root_mean_square([s.tensor_noise[number] for s in measured if s.tensor_norms[number]])
        floor = NOISE_FLOOR * noise * math.sqrt((where.stop - where.start) / layout.size)
        honest = STEADY_SHARE * training.bound_tensor * _root_mean_square([s.tensor_norms[number] for s in samples])
        size = _steady(total[where], squares[name], count)
        sizes[f"in one direction in {name}"] = _share(size, allowance * max(own, floor, honest))
    sizes |= _step_sizes(samples, training, layout, allowance)
    where_, magnitude = max(sizes.items(), key=lambda item: item[1])
    if magnitude <= 1.0:
        message = f"over {count} steps the differences look like rounding"
    else:
        message = f"over {count} steps the gradients lean {where_}, {magnitude:.3g} times what rounding explains"
    unit = unit or 1.0
    return DriftVerdict(
        magnitude <= 1.0, message, count, magnitude, where_, steady / unit, along / unit, noise / unit
    )  # fmt: skip


def _step_sizes(
    samples: Sequence[DriftSample], training: TrainingSection, layout: Layout, allowance: float
) -> dict[str, float]:
    """The steady part in units of the optimiser's steps, as shares of its limits; nothing where strides are alike.

    An honest gradient makes about one step of each value, so the bound of one step allows `bound * sqrt(values)`.
    """
    strides = [sample.stride for sample in samples if sample.stride is not None]
    if not strides:
        return {}
    inverse = 1.0 / _mean_stride(strides)
    roundings = [sample.rounding * inverse for sample in samples if sample.rounding is not None]
    total, squares = _sums([sample.difference * inverse for sample in samples], layout)
    noise = _root_mean_square([float(np.linalg.norm(rounding)) for rounding in roundings])
    limit = allowance * max(noise, STEADY_SHARE * training.bound_total * math.sqrt(layout.size))
    sizes = {"in the optimiser's steps": _share(_steady(total, sum(squares.values()), len(samples)), limit)}
    for name, where in layout.slices.items():
        values = where.stop - where.start
        own = _root_mean_square([float(np.linalg.norm(rounding[where])) for rounding in roundings])
        floor = NOISE_FLOOR * noise * math.sqrt(values / layout.size)
        honest = STEADY_SHARE * training.bound_tensor * math.sqrt(values)
        size = _steady(total[where], squares[name], len(samples))
        sizes[f"in the optimiser's steps in {name}"] = _share(size, allowance * max(own, floor, honest))
    return sizes


def _mean_stride(strides: Sequence[Vector]) -> NDArray[np.float64]:
    """One stride for all samples, shape (P,): the quadratic mean, so that every pair is measured alike."""
    squares = np.zeros(strides[0].shape)
    for stride in strides:
        squares += np.square(stride, dtype=np.float64)
    return np.asarray(np.sqrt(squares / len(strides)))


def _sums(differences: Sequence[NDArray[np.floating]], layout: Layout) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Sum of the differences, shape (P,), and sum of their squared norms by tensor."""
    total = np.zeros(layout.size)
    squares = dict.fromkeys(layout.names, 0.0)
    for difference in differences:
        total += difference
        for name, where in layout.slices.items():
            squares[name] += float(np.square(difference[where], dtype=np.float64).sum())
    return total, squares


def _steady(total: NDArray[np.float64], squares: float, count: int) -> float:
    """Size of what all differences share; 0 for a single one."""
    if count < 2:
        return 0.0
    return math.sqrt(max(float(np.dot(total, total)) - squares, 0.0) / (count * (count - 1)))


def _share(size: float, limit: float) -> float:
    if limit == 0.0:
        return 0.0 if size == 0.0 else math.inf
    return size / limit


def _by_tensor(values: Wide, layout: Layout) -> tuple[float, ...]:
    return tuple(float(np.linalg.norm(values[where])) for where in layout.slices.values())


def _root_mean_square(values: Sequence[float]) -> float:
    """0 without values."""
    return math.sqrt(sum(value**2 for value in values) / max(len(values), 1))
