"""Whether rounding decides how a round ends.

Where the learning rate is too high for so many steps, training is unstable: two runs that differ by a rounding end
elsewhere (docs/results/steering.md). Pay is luck there, and a trainer may keep the best of many runs, each of which
replays accept. So a round is played twice, once with every gradient value moved by a rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.rules import FLOAT32_UNIT
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.reporting import counted
from deltaproof.sponsor.made_up import made_up_round
from deltaproof.tuning.errors import DivergenceError
from deltaproof.tuning.training.optimizers import State, clip_scale
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import RoundContext, apply_update, compute_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["DECIDES", "Stability", "looked_at", "stability_note"]

DECIDES = 0.01
"""Share of training's way from which rounding decides: a push that moved as much changed pay by over a percent."""
LAST = 8
"""Steps at the end whose mean loss is told."""
CALMER = 3
"""How many times half of the rate is tried."""


@dataclass(frozen=True, slots=True)
class Stability:
    """What a rounding of every gradient value made of a round at one learning rate."""

    rate: float
    steps: int
    """Steps that were looked at, of all."""
    moved: float
    """Distance of the two adapters over the way that training went; infinite where training diverges."""
    loss: float
    """Mean of the last steps, nats."""

    @property
    def decides(self) -> bool:
        """Whether rounding decides how the round ends."""
        return self.moved >= DECIDES

    def record(self) -> dict[str, float | None]:
        """For JSON; null stands for what is infinite."""
        finite = math.isfinite(self.moved)
        return {
            "learning_rate": self.rate,
            "steps": self.steps,
            "moved": self.moved if finite else None,
            "loss": self.loss if finite else None,
        }


def looked_at(bench: Workbench, start: Vector, rows: Sequence[bytes], patience: float) -> list[Stability]:
    """The task's own rate and, where rounding decides, half of it, a quarter, an eighth, until it does not.

    `start` is the starting adapter, shape (P,); `rows` are canonical rows of the task's kind. No look begins, and none
    goes on, when `patience` seconds are over.
    """
    until = time.perf_counter() + patience
    found: list[Stability] = []
    for halvings in range(CALMER + 1):
        if found and not (found[-1].decides and time.perf_counter() < until):
            break
        one = _played(_at_rate(bench, 0.5**halvings), start, rows, until)
        if one is None:
            break
        found.append(one)
    return found


def stability_note(spec: TaskSpec, found: Sequence[Stability]) -> str | None:
    """What a sponsor has to hear about it; None if rounding decides nothing."""
    of = spec.training.steps
    if not found:
        return (
            f"whether rounding decides how a round of {counted(of, 'step')} ends was not looked at: --patience "
            f"was too short"
        )
    own, calm = found[0], found[-1]
    if not math.isfinite(own.moved):
        text = f"training diverges at optimizer.learning_rate = {own.rate:g}, in step {own.steps} of {of}"
        return text + _calmer(own, calm, of)
    if own.decides:
        text = (
            f"rounding decides how a round ends: at optimizer.learning_rate = {own.rate:g} a rounding of each gradient "
            f"moves the adapter by {own.moved:.2g} of training's way in {counted(own.steps, 'step')}. Pay is "
            f"luck then, and a "
            "trainer may keep the best of many runs, in exact mode as well"
        )
        return text + _calmer(own, calm, of)
    if own.steps < of:
        return (
            f"rounding decides nothing in the first {own.steps} of {counted(of, 'step')}; --patience was too "
            f"short for the others"
        )
    return None


def _calmer(own: Stability, calm: Stability, of: int) -> str:
    if calm.decides or calm.steps < of:
        cut = calm.steps < of or calm.rate > own.rate * 0.5**CALMER
        return ". Take a lower rate, or fewer steps" + ("; with more --patience lower rates are tried" if cut else "")
    return (
        f". Take a lower rate: at {calm.rate:g} it moves {calm.moved:.1g} of the way, and the training loss of your "
        f"rows goes to {calm.loss:.3g} nats, where it goes to {own.loss:.3g} now"
    )


def _at_rate(bench: Workbench, factor: float) -> Workbench:
    optimizer = bench.spec.optimizer
    rate = optimizer.learning_rate * factor
    return replace(
        bench, spec=bench.spec.model_copy(update={"optimizer": optimizer.model_copy(update={"learning_rate": rate})})
    )


def _played(bench: Workbench, start: Vector, rows: Sequence[bytes], until: float) -> Stability | None:
    """Both runs in step, until the round is over or time is; None if there was no time for a step."""
    context, shard = made_up_round(bench, start, rows, b"deltaproof/stability")
    losses: list[float] = []
    own = moved = start_state(bench, start)
    try:
        for batch in _batches(bench, context, shard, until):
            step = len(losses)
            done = compute_step(bench, context, own, step, batch)
            own, moved = done.next_state, _rounded(bench, context, moved, step, batch)
            losses.append(done.loss)
    except DivergenceError:
        return Stability(bench.spec.optimizer.learning_rate, len(losses) + 1, math.inf, math.inf)
    if not losses:
        return None
    way, apart = (_distance(own["theta"], torch.from_numpy(start)), _distance(own["theta"], moved["theta"]))
    share = apart / way if way else 0.0
    return Stability(bench.spec.optimizer.learning_rate, len(losses), share, float(np.mean(losses[-LAST:])))


def _batches(
    bench: Workbench, context: RoundContext, shard: Shard, until: float
) -> Iterator[Sequence[tuple[bytes, bytes]]]:
    for step in range(bench.spec.training.steps):
        if time.perf_counter() > until:
            return
        yield batch_rows(bench, context, shard, step)


def _rounded(
    bench: Workbench, context: RoundContext, state: State, step: int, batch: Sequence[tuple[bytes, bytes]]
) -> State:
    """The state after a step whose gradient values were each moved by one rounding, up or down as it falls. Gradients
    are float32 in both modes: exact mode rounds them."""
    gradient = compute_step(bench, context, state, step, batch).gradient
    signs = np.random.default_rng(step).choice((-1.0, 1.0), gradient.size)
    nudged = (gradient * (1.0 + FLOAT32_UNIT * signs)).astype(np.float32)
    scale = clip_scale(nudged, bench.spec.optimizer.clip_norm)
    return apply_update(bench, state, step, torch.from_numpy(nudged).to(bench.device), scale)


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a.cpu().double() - b.cpu().double()))
