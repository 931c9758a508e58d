"""The gradient of one step, computed again and compared: as often as doubt asks, and no more.

Everything here is lazy and kept: an honest step costs one pass. Doubt adds a pass in one piece, one in float64, one a
row, and in the end `DRAWS` with random roundings (`condition`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import (
    FLOAT32_UNIT,
    FLOAT64_MAGNIFIED,
    FLOAT64_UNIT,
    LOSS_TOLERANCE,
    MIRROR_SHARE,
    ROUNDING_DRAWS,
)
from deltaproof.replaying.comparison import (
    Agreement,
    Wide,
    compare_bounded,
    compare_exact,
    invented,
    norms_of,
    rounding_norms,
)
from deltaproof.replaying.condition import rounded_at_random
from deltaproof.replaying.drift import DriftSample
from deltaproof.replaying.grouping import grouped_gradient
from deltaproof.replaying.refusal import Refused
from deltaproof.tuning.errors import RowError
from deltaproof.tuning.numerics.memory import give_back
from deltaproof.tuning.training.optimizers import State, constants_of, correctly_rounded_sqrt
from deltaproof.tuning.training.workbench import RowNorms, Workbench

__all__ = ["Gradient", "Recomputation", "check_gradient", "stride_of"]


@dataclass(frozen=True)
class Gradient:
    """Float64 of shape (P,), and the mean loss of the batch in nats."""

    values: Wide
    loss: float


@dataclass
class Recomputation:
    """The gradient of a batch at a committed state, in every way that a verdict may ask for.

    `bench` computes in float64, `mirror` in the trainer's precision if that is another. `rows` are canonical rows in
    batch order; `round_key` decides which values the trainer tunes; `groups` are those that rows are computed in.
    """

    bench: Workbench
    mirror: Workbench | None
    state: State
    rows: Sequence[bytes]
    dropout_key: bytes
    round_key: bytes
    groups: int = 1
    _kept: dict[tuple[bool, int], Gradient] = field(default_factory=dict, repr=False)

    @property
    def reference(self) -> Gradient:
        """In float64."""
        return self._gradient(self.bench, self.groups)

    @property
    def mirrored(self) -> Gradient:
        """In the trainer's precision; in float64 where the judge has no mirror."""
        return self._gradient(self.mirror or self.bench, self.groups)

    @cached_property
    def rounded(self) -> tuple[Wide, ...]:
        """In float64 in one piece, with random roundings of every operation."""
        return tuple(self._rounded(FLOAT32_UNIT))

    @cached_property
    def wide_rounding(self) -> Wide:
        """What rounding in float64 may do to each value, shape (P,): the largest change that random roundings made, of
        the value or as a root mean square of its tensor. They are magnified, or float64's own would swallow them."""
        exact, found = self._gradient(self.bench, 1).values, np.zeros(self.bench.layout.size)
        for drawn in self._rounded(FLOAT64_MAGNIFIED * FLOAT64_UNIT):
            change = np.abs(drawn - exact)
            for where in self.bench.layout.slices.values():
                usual = float(np.sqrt(np.mean(change[where] ** 2)))
                found[where] = np.maximum(found[where], np.maximum(change[where], usual))
        return found / FLOAT64_MAGNIFIED

    @cached_property
    def row_norms(self) -> RowNorms:
        """Norms of each row's own share of the gradient at the committed state: see `Workbench.row_norms`."""
        self.bench.load(self.state["theta"])
        return self.bench.row_norms(self.rows)

    @cached_property
    def rounding(self) -> RowNorms:
        """What rounding may do to the gradient as a whole and to each tensor: see `rounding_norms`."""
        layout, exact = self.bench.layout, self._gradient(self.bench, 1).values
        drawn = [norms_of(gradient - exact, layout) for gradient in self.rounded]
        own = norms_of(self.mirrored.values - self.reference.values, layout)
        return rounding_norms(drawn, own, layout)

    def in_groups(self) -> Iterator[None]:
        """Once for each way to split the batch that is worth a try; the last one is the trainer's, in one piece."""
        yield
        if self.groups > 1:
            self.groups = 1
            yield

    def _rounded(self, unit: float) -> Iterator[Wide]:
        """With random roundings of at most `unit`, relative, one draw after the other."""
        return (self._compute(self.bench, 1, (seed, unit)).values for seed in range(ROUNDING_DRAWS))

    def _gradient(self, bench: Workbench, groups: int) -> Gradient:
        place = (bench is self.bench, groups)
        if place not in self._kept:
            self._kept[place] = self._compute(bench, groups)
        return self._kept[place]

    def _compute(self, bench: Workbench, groups: int, rounding: tuple[int, float] | None = None) -> Gradient:
        bench.load(self.state["theta"])
        with nullcontext() if rounding is None else rounded_at_random(*rounding):
            try:
                gradient, loss = grouped_gradient(bench, self.rows, self.dropout_key, groups)
            except (RowError, EncodingError) as error:
                raise Refused("rows", str(error)) from error
            finally:
                give_back()
        wide = bench.tuned(gradient, self.round_key).to(device="cpu", dtype=torch.float64).numpy()
        if not np.isfinite(wide).all():
            raise Refused("gradient", "the gradient of this batch at the committed state is not finite", math.inf)
        return Gradient(wide, loss)


def stride_of(bench: Workbench, step: int, scale: float, after: Mapping[str, Tensor]) -> Wide | None:
    """For each value, float64 of shape (P,), the gradient that the optimiser makes a full step of; None if all alike.

    Adam divides by the root of the second moment, so its metric is not that of the raw gradient. `after` is the state
    after the step, `scale` the clip scale.
    """
    if "v" not in after:
        return None
    k = constants_of(bench.constants, step)
    root = correctly_rounded_sqrt(after["v"] * k["ib2"]).double().cpu().numpy()
    return np.asarray((root + k["eps"]) / max(scale, float(np.finfo(np.float32).tiny)))


def check_gradient(
    committed: Vector, loss: float, again: Recomputation, stride: Wide | None, thorough: bool
) -> tuple[Agreement, DriftSample | None]:
    """Whether a committed gradient is the recomputed one, and in bounded mode what the drift test needs.

    Raises Refused.
    """
    if again.bench.spec.training.numeric == "exact":
        return _check_exact(committed, loss, again, stride), None
    return _check_bounded(committed, loss, again, stride, thorough)


def _check_exact(committed: Vector, loss: float, again: Recomputation, stride: Wide | None) -> Agreement:
    for _ in again.in_groups():
        agreement = compare_exact(committed, again.reference.values, again.bench.layout, stride)
        if agreement.agrees:
            break
    if not agreement.agrees:
        values, rounding = again.reference.values, again.wide_rounding
        agreement = compare_exact(committed, values, again.bench.layout, stride, rounding)
    _require(agreement, "times what rounding explains")
    _check_zeros(committed, again)
    _check_loss(loss, again.reference.loss, 0.0)
    return agreement


def _check_bounded(
    committed: Vector, loss: float, again: Recomputation, stride: Wide | None, thorough: bool
) -> tuple[Agreement, DriftSample]:
    training, layout = again.bench.spec.training, again.bench.layout
    for _ in again.in_groups():
        agreement = compare_bounded(committed, again.mirrored.values, layout, training)
        if agreement.magnitude <= MIRROR_SHARE * agreement.bound:
            break
    doubtful = agreement.magnitude > MIRROR_SHARE * agreement.bound
    noise = None
    if thorough or doubtful:
        exact = again.reference.values
        noise = again.mirrored.values - exact if again.mirror else None
        agreement = compare_bounded(committed, exact, layout, training)
        if not agreement.agrees:
            agreement = compare_bounded(committed, exact, layout, training, again.row_norms)
        if not agreement.agrees:
            agreement = compare_bounded(committed, exact, layout, training, again.row_norms, again.rounding)
    _require(agreement, "relative to its norm")
    _check_zeros(committed, again)
    _check_loss(loss, again.mirrored.loss, training.bound_tensor)
    return agreement, DriftSample.of(committed, again.mirrored.values, noise, layout, stride)


def _check_zeros(committed: Vector, again: Recomputation) -> None:
    """A value whose gradient is zero by structure must be committed as zero: Adam makes a full step of any other."""
    suspects = invented(committed, again.mirrored.values)
    if not suspects.size:
        return
    suspects = suspects[again.reference.values[suspects] == 0.0]
    for rounded in again.rounded if suspects.size else ():
        suspects = suspects[rounded[suspects] == 0.0]
    if suspects.size:
        worst = float(np.abs(committed[suspects]).max())
        raise Refused(
            "gradient",
            f"{suspects.size} values whose gradient is zero, whatever the rounding, are committed as up to {worst:.3g}",
            worst,
        )


def _require(agreement: Agreement, unit: str) -> None:
    if not agreement.agrees:
        raise Refused(
            "gradient",
            f"the gradient is not the one this batch gives: off by {agreement.magnitude:.3g} {unit} in "
            f"{agreement.tensor}; allowed {agreement.bound:.3g}",
            agreement.magnitude,
            agreement.bound,
        )


def _check_loss(committed: float, recomputed: float, bound: float) -> None:
    """The loss is rounded to float32 and counts for nothing but information; still it must be true."""
    step = float(np.spacing(np.float32(abs(recomputed))))
    tolerance = step + LOSS_TOLERANCE * bound * (1.0 + abs(recomputed))
    off = abs(committed - recomputed)
    if not off <= tolerance:
        raise Refused("loss", f"loss {committed:.9g} where the batch gives {recomputed:.9g}", off, tolerance)
