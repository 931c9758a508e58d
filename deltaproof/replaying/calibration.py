"""Measure honest differences on this machine and derive bounds from them.

Trains some steps as an honest trainer would and compares each gradient with the float64 one: what comes out is
rounding. Other machines round in another order; recomputing each batch with its rows in reverse imitates that. The
bounds are the largest differences seen times a margin, rounded up to one digit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deltaproof.protocol.draws.order import BatchOrder
from deltaproof.protocol.rules import CALIBRATION_MARGIN, MIN_BOUND, TIE_NOISE
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import ZERO_DIGEST
from deltaproof.replaying.comparison import Wide
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.training.optimizers import State, clip_scale, constants_of, update
from deltaproof.tuning.training.workbench import RowNorms, Workbench

__all__ = ["Calibration", "calibrate", "trainer_values"]


@dataclass(frozen=True)
class Calibration:
    """Largest honest differences over `steps` steps and the bounds that follow. Zero where the mode does not apply.

    `tie_noise` is the largest float64 difference relative to the root mean square that `TIE_NOISE` allows for.
    """

    steps: int
    precision: str
    total: float
    tensor: float
    worst_tensor: str
    tie_noise: float
    near_ties: int
    values: int

    @property
    def bound_total(self) -> float:
        """For the spec's `training.bound_total`."""
        return _round_up(CALIBRATION_MARGIN * self.total)

    @property
    def bound_tensor(self) -> float:
        """For the spec's `training.bound_tensor`."""
        return _round_up(CALIBRATION_MARGIN * self.tensor)

    @property
    def tie_margin(self) -> float:
        """How many times the measured float64 noise fits into the tolerated one."""
        return TIE_NOISE / self.tie_noise if self.tie_noise else math.inf


def calibrate(
    spec: TaskSpec, rows: Sequence[bytes], steps: int, device: str = "cpu", judge_device: str | None = None
) -> Calibration:
    """Measure over the first `steps` steps of training on `rows` (canonical), in the spec's numeric mode.

    The trainer computes on `device`, the verifier on `judge_device`, by default the same.

    Raises what `Judge.from_spec` raises.
    """
    judge = Judge.from_spec(spec, judge_device or device)
    trainer = judge.mirror or judge.reference
    if judge_device not in (None, device):
        trainer = Workbench.from_spec(spec, device)
    total = tensor = tie = 0.0
    worst, ties = "", 0
    for batch, committed in _training(trainer, rows, steps):
        judge.reference.load(trainer_values(trainer))
        reference = _wide(judge.reference, batch)
        reverse = _wide(judge.reference, batch[::-1])
        noise, flips = _float64_noise(reference, reverse)
        tie, ties = max(tie, noise), ties + flips
        if judge.mirror is None:
            continue
        norms = judge.reference.row_norms(batch)
        for candidate in (committed, _wide(judge.mirror, batch[::-1])):
            whole, share, name = _relative(judge, candidate, reference, norms)
            total = max(total, whole)
            if share > tensor:
                tensor, worst = share, name
    return Calibration(steps, trainer.precision, total, tensor, worst, tie, ties, steps * trainer.layout.size)


def trainer_values(bench: Workbench) -> torch.Tensor:
    """The adapter that is loaded in `bench`, float32, shape (P,)."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in bench.parameters]).float()


def _training(bench: Workbench, rows: Sequence[bytes], steps: int) -> Iterator[tuple[list[bytes], Wide]]:
    order = BatchOrder(ZERO_DIGEST, len(rows), bench.spec.training.batch_size)
    theta = torch.from_numpy(bench.initial_state()).to(bench.device)
    state: State = {slot: theta if slot == "theta" else torch.zeros_like(theta) for slot in bench.slots}
    for step in range(min(steps, bench.spec.training.steps)):
        bench.load(state["theta"])
        batch = [rows[index] for index in order.batch(step)]
        gradient = bench.gradient(batch, bytes(32))[0]
        yield batch, gradient.double().cpu().numpy()
        committed = gradient.float()
        scale = clip_scale(committed.cpu().numpy(), bench.spec.optimizer.clip_norm)
        state = update(bench.optimizer, constants_of(bench.constants, step), state, committed, scale)


def _wide(bench: Workbench, batch: Sequence[bytes]) -> Wide:
    return bench.gradient(batch, bytes(32))[0].double().cpu().numpy()


def _float64_noise(first: Wide, second: Wide) -> tuple[float, int]:
    rms = float(np.linalg.norm(first)) / math.sqrt(first.size)
    flips = int((first.astype(np.float32) != second.astype(np.float32)).sum())
    return float(np.abs(first - second).max()) / rms if rms else 0.0, flips


def _relative(judge: Judge, committed: Wide, reference: Wide, norms: RowNorms) -> tuple[float, float, str]:
    difference = committed - reference
    floor = judge.spec.training.bound_floor * norms.whole
    shares = {
        name: float(np.linalg.norm(difference[where])) / max(norms.tensors[name], floor)
        for name, where in judge.reference.layout.slices.items()
        if norms.tensors[name]
    }
    name = max(shares, key=shares.__getitem__, default="")
    return float(np.linalg.norm(difference)) / (norms.whole or 1.0), shares.get(name, 0.0), name


def _round_up(value: float) -> float:
    """To one digit, and to what a task may ask for at least; 0 where nothing was measured."""
    if value == 0.0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(value))
    return max(float(f"{math.ceil(value / unit) * unit:.1g}"), MIN_BOUND)
