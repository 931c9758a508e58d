"""What freedom exact mode leaves: values that the rounding from float64 to float32 may turn either way.

This attacker computes every gradient honestly in float64, and commits for each value the float32 number on the side
that it wants, as far as the rule of near ties lets pass (`tie_noise`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.attacks.forging import Attack, ForgedStep, Honest, exact_update
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector
from deltaproof.replaying.comparison import tie_noise
from deltaproof.replaying.gradient_check import stride_of
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["tie_push"]

Wide = NDArray[np.float64]
FILL = 0.9
"""Share of the tolerated noise that is used."""


def tie_push(bench: Workbench, context: RoundContext, shard: Shard, *, once: bool) -> Attack:
    """Turn near ties along one random direction: all of them in every step, or a single value of the first step."""
    wanted = np.sign(np.random.default_rng(12).standard_normal(bench.layout.size))

    def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
        if once and step:
            return None
        result = do(state)
        bench.load(state["theta"])
        rows = [row for _, row in batch_rows(bench, context, shard, step)]
        wide = bench.gradient(rows, context.dropout_key(step))[0].double().cpu().numpy()
        stride = stride_of(bench, step, result.record.clip_scale, result.next_state)
        noise = FILL * tie_noise(wide, bench.layout, stride)
        turned = _turned(result.gradient, wide, wanted, noise)
        if once:
            moved = np.flatnonzero(turned != result.gradient)[:1]
            single = result.gradient.copy()
            single[moved] = turned[moved]
            turned = single
        return exact_update(bench, state, step, turned, loss=result.record.loss)

    return attack


def _turned(gradient: Vector, wide: Wide, wanted: Wide, noise: Wide) -> Vector:
    """Each value as far on the wanted side as the tolerated noise lets it go; a zero stays."""
    pushed = (wide + wanted * noise).astype(np.float32)
    neighbour = np.nextafter(gradient, (np.inf * wanted).astype(np.float32))
    candidate = np.where(pushed == gradient, neighbour, pushed)
    half_step = 0.5 * np.maximum(np.spacing(np.abs(gradient)), np.spacing(np.abs(candidate))).astype(np.float64)
    excess = np.abs(candidate.astype(np.float64) - wide) - half_step
    fits = (excess <= noise) & (gradient != 0.0) & (candidate != 0.0)
    return np.where(fits, candidate, gradient).astype(np.float32)
