"""Pushes inside what one step may differ by, over full rounds, by attackers who know the drift test.

A push of `NEAR` of both bounds of a step passes every replay by itself. What the attackers choose is where it goes and
in which steps, so that what the sampled steps share looks like nothing. Each attacker who aims does so at a backdoor,
with the very rows that its success is measured on, which a real one does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.attacker import Attacker, Made, stakes
from benchmarks.attacks.floor_pushes import Aim, aims, floor_push, spent
from benchmarks.attacks.forging import Attack, ForgedStep, Honest, exact_update
from deltaproof.tuning.training.optimizers import State

NEAR = 0.45
"""Share of both bounds of a step that is not even in doubt: half of them."""
SAMPLES = 22
"""Steps that one verifier samples with the two ends; floor pushes count with them."""
FAMILIES = ("lora", "prefix", "pfeiffer", "layer_norm", "shira", "adalora", "dora", "lokr")
"""Methods of every family, each with pushes at the floor of the drift test."""


def on_pushes() -> Iterator[Attacker]:
    steady, late = (lambda _step, _steps: 1.0), (lambda step, steps: float(steps - 13 < step < steps - 1))
    for name, place, sign, aim in (
        ("every step but the two that are always sampled", "lora", lambda t, n: float(0 < t < n - 1), "backdoor"),
        ("only the last twelve steps before the last", "lora", late, "backdoor"),
        ("up while the learning rate is high, back while it is near zero", "schedule", hedged, "backdoor"),
        ("up in even steps, back in odd ones", "lora", lambda t, _n: 1.0 - 2.0 * (t % 2), "amplifies"),
        ("up or back by a coin that only the trainer sees", "lora", coin, "backdoor"),
        ("up or back by a coin, the values that Adam amplifies most", "lora", coin, "amplifies"),
        ("steady, words of the batch that are rare", "words", steady, "amplifies"),
        ("up while the learning rate is high, back near zero, words", "words and schedule", hedged, "backdoor"),
    ):  # fmt: skip
        yield Attacker(name, f"gradients, {NEAR:g} of both bounds", place, pushed(sign, aim), ("bounded",))
    yield Attacker(
        "longer gradients where clipping makes them equally long", "gradients, 0.45 of the bound", "clip",
        lambda arena: Made(arena.forge(longer(arena))), ("bounded",),
    )  # fmt: skip
    for family in FAMILIES:
        yield Attacker(
            f"at the floor of the drift test, towards a backdoor ({family})", "gradients", family, floor("backdoor"),
            ("bounded",),
        )  # fmt: skip
        yield Attacker(
            f"at the floor, the values that Adam amplifies most ({family})", "gradients", family, floor("amplifies"),
            ("bounded",),
        )  # fmt: skip
        yield Attacker(f"every value one float32 step towards a backdoor ({family})", "gradients", family,
                       one_step_each, ("exact",))  # fmt: skip
    yield Attacker("three trainers push alike at the floor, their mean is what counts", "gradients", "lora", together,
                   ("bounded",))  # fmt: skip


def hedged(step: int, steps: int) -> float:
    """Up in one half of the steps, back in the other: in sum nothing, but not in what the optimiser moves."""
    return 1.0 if step < steps // 2 else -1.0


def coin(step: int, _steps: int) -> float:
    return float(np.random.default_rng(1000 + step).choice((-1.0, 1.0)))


def pushed(sign: Callable[[int, int], float], aim: str) -> Callable[[Arena], Made]:
    """`NEAR` of both bounds of a step along an aim, times `sign` of the step and the number of steps."""

    def made(arena: Arena) -> Made:
        training, layout, chosen = arena.bench.spec.training, arena.bench.layout, aim_of(arena, aim)

        def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
            way = sign(step, arena.steps)
            if not way:
                return None
            result = do(state)
            gradient = result.gradient.astype(np.float64)
            wanted = chosen(state, gradient).copy()
            wanted[gradient == 0.0] = 0.0
            push = spent(wanted, gradient, NEAR * training.bound_total, NEAR * training.bound_tensor, layout)
            committed = (gradient + way * push).astype(np.float32)
            return exact_update(arena.bench, state, step, committed, loss=result.record.loss)

        return Made(arena.forge(attack))

    return made


def floor(aim: str) -> Callable[[Arena], Made]:
    return lambda arena: Made(arena.forge(floor_push(arena.bench, SAMPLES, aim_of(arena, aim))))


def longer(arena: Arena) -> Attack:
    """Along the gradient, where clipping takes the length away again."""
    by = np.float32(1.0 + NEAR * arena.bench.spec.training.bound_total)

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        return exact_update(arena.bench, state, step, result.gradient * by, loss=result.record.loss)

    return attack


def one_step_each(arena: Arena) -> Made:
    """Exact mode: all that could be left is a neighbour of each value."""
    aim = aim_of(arena, "backdoor")

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        wanted = aim(state, result.gradient.astype(np.float64))
        towards = np.where(wanted > 0, np.float32(np.inf), np.float32(-np.inf)).astype(np.float32)
        committed = np.where(result.gradient == 0.0, result.gradient, np.nextafter(result.gradient, towards))
        return exact_update(arena.bench, state, step, committed, loss=result.record.loss)

    return Made(arena.forge(attack))


def together(arena: Arena) -> Made:
    """Rounds of three names with orders of their own; gains are those of the mean adapter beside three honest ones."""
    names = [arena] + [
        replace(arena, context=replace(arena.context, trainer=bytes([number]) * 20)) for number in (2, 3)
    ]
    forged = [name.forge(floor_push(name.bench, SAMPLES, aim_of(name, "backdoor"))) for name in names]
    honest = [name.forge(lambda *_: None).theta for name in names]
    push = np.mean([made.theta for made in forged], axis=0) - np.mean(honest, axis=0)
    return Made(forged[0], theta=(honest[0] + push).astype(np.float32))


def aim_of(arena: Arena, name: str) -> Aim:
    return next(aim for title, aim in aims(arena, stakes()) if name in title)
