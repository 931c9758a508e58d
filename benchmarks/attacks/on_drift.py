"""Steering inside the tolerance of bounded mode, by attackers who know the bound and the drift test.

What the drift test does not see is measured in benchmarks/attacks/steering.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.forging import Attack, ForgedStep, Honest, exact_update, judge_all
from benchmarks.attacks.rates import AttackOutcome, tally
from deltaproof.tuning.training.optimizers import State

Wide = NDArray[np.float64]


def push(arena: Arena, size: float, direction: Wide | None) -> Attack:
    """Push every gradient by `size` of its norm, along `direction` or, without one, along itself."""
    bench = arena.bench

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        chosen = result.gradient.astype(np.float64) if direction is None else direction.copy()
        chosen[result.gradient == 0.0] = 0.0  # a push where the gradient is exactly zero is refused outright
        norm, length = float(np.linalg.norm(result.gradient)), float(np.linalg.norm(chosen)) or 1.0
        pushed = result.gradient + size * norm * chosen / length
        return exact_update(bench, state, step, pushed.astype(np.float32), loss=result.record.loss)

    return attack


def amplified(arena: Arena) -> Attack:
    """Adam turns a tiny push on a tensor without gradient into a full step: LoRA's A in the first step."""

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = result.gradient.copy()
        quiet = gradient == 0.0
        gradient[quiet] = np.float32(1e-8) * np.float32(np.linalg.norm(gradient))
        return exact_update(arena.bench, state, step, gradient, loss=result.record.loss)

    return attack


def steering_attacks(arena: Arena, trials: int, samples: int) -> list[AttackOutcome]:
    """Pushes that must be caught."""
    layout, bound = arena.bench.layout, arena.bench.spec.training.bound_total
    random = np.random.default_rng(11).standard_normal(layout.size)
    head = np.zeros(layout.size)
    for name, where in layout.slices.items():
        if "classifier" in name:
            head[where] = random[where]
    rows: list[tuple[str, str, Attack]] = [
        ("beyond the bound, random direction", "every gradient, 3 x bound", push(arena, 3 * bound, random)),
        ("adaptive: inside the bound, one random direction", "every gradient, 0.9 x bound",
         push(arena, 0.9 * bound, random)),
        ("adaptive: inside the bound, head only", "every gradient, 0.9 x bound", push(arena, 0.9 * bound, head)),
        ("adaptive: inside the bound, along the gradient", "every gradient, 0.9 x bound",
         push(arena, 0.9 * bound, None)),
        ("adaptive: Adam's amplifier on silent tensors", "first steps", amplified(arena)),
    ]  # fmt: skip
    outcomes = []
    for name, what, attack in rows:
        verdicts = judge_all(arena.judge, arena.forge(attack), arena.context)
        outcomes.append(tally(arena, name, what, verdicts, samples=samples, trials=trials, drift=True))
    return outcomes
