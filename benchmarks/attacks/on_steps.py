"""Wrong arithmetic in otherwise honest rounds, by trainers who know every rule and get every hash right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.attacks.arena import Arena
from benchmarks.attacks.attacker import Attacker, Made
from benchmarks.attacks.forging import Attack, ForgedStep, Honest, exact_update, forge
from deltaproof.protocol.evidence.state import Layout, Vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.training.optimizers import State, clip_scale, constants_of, update
from deltaproof.tuning.training.workbench import Workbench

TAIL = 0.1
"""Share of a round that a trainer saves who stops early."""


def on_steps() -> Iterator[Attacker]:
    """Attackers by the place they make sense in."""
    for name, place, change in (
        ("only the first of four micro-batches computed", "accumulation", part_of_rows(1, 4)),
        ("half of the batch's rows computed", "lora", part_of_rows(1, 2)),
        ("gradient of the state before, computed ahead", "lora", stale),
        ("dropout off where the task asks for it", "dropout", recomputed(lambda bench: _with(bench, dropout=False))),
        ("the luckiest of four dropout masks", "dropout", lucky_mask),
        ("gates' noise of one's own", "diff_pruning", own_noise),
        ("penalty of open gates left out", "diff_pruning", without_penalty),
        ("second rank a copy of the first (half the work)", "lora", tied_ranks),
        ("half of the prefix not trained", "prefix", silent("prompt_encoder")),
        ("layer-norm gains not trained", "layer_norm", silent("ln_tuning", "LayerNorm")),
        ("adapters of the second layer not trained", "pfeiffer", silent("layer.1")),
        ("push on AdaLoRA's factors while their E is zero", "adalora", into_zeros),
        ("gradient as bfloat16 has it", "lora", recomputed(in_bfloat16)),
        ("base weights as float16 has them", "lora", recomputed(halved_weights)),
        ("stops at the best step, gradients of zero from there", "lora", stops),
        ("every loss told a tenth lower", "lora", cheap_loss),
    ):  # fmt: skip
        yield Attacker(name, "gradients", place, forging(change))
    for name, place, change in (
        ("constants of the next step (warm-up skipped)", "schedule", at_other_step(lambda t, n: min(t + 1, n - 1))),
        ("learning rate of the peak in every step", "schedule", at_other_step(lambda _t, n: n // 10)),
        ("bias correction of the first step in every step", "lora", first_correction),
        ("no weight decay on the head", "lora", no_decay),
        ("factors rescaled, A by 4 and B by a quarter, in the last step", "lora", rescaled),
        ("factors rotated, A by R and B by its inverse, in the last step", "lora", rotated),
        ("clip scale told one float32 step larger", "clip", wider_clip),
    ):  # fmt: skip
        yield Attacker(name, "updates", place, forging(change))
    yield Attacker("second moments halved in one step, in the middle", "one update", "lora", forging(fresh_moments))
    yield Attacker("second moments start at 1e-12", "the start", "lora", moments_from_start(1e-12))
    yield Attacker("first moments start at minus zero", "the start", "lora", moments_from_start(-0.0, "m"))
    yield Attacker("minus zero committed for every zero", "zeros", "lora", forging(minus_zero))


def forging(change: Callable[[Arena], Attack]) -> Callable[[Arena], Made]:
    return lambda arena: Made(arena.forge(change(arena)))


# Gradients that are not those of the batch


def part_of_rows(part: int, of: int) -> Callable[[Arena], Attack]:
    def attacker(arena: Arena) -> Attack:
        def attack(step: int, state: State, _: Honest) -> ForgedStep:
            rows = _rows(arena, step)
            return _computed(arena, arena.bench, state, step, rows[: max(1, len(rows) * part // of)])

        return attack

    return attacker


def stale(arena: Arena) -> Attack:
    """What a pipeline of two devices would compute: the gradient at the state of the step before."""
    before: list[torch.Tensor] = []

    def attack(step: int, state: State, _: Honest) -> ForgedStep:
        theta = before[-1] if before else state["theta"]
        before[:] = [state["theta"]]
        return _computed(arena, arena.bench, {**state, "theta": theta}, step, _rows(arena, step), update_from=state)

    return attack


def recomputed(other: Callable[[Workbench], Workbench]) -> Callable[[Arena], Attack]:
    """Gradients of another bench, everything else as the task says."""

    def attacker(arena: Arena) -> Attack:
        cheap = other(arena.bench)
        return lambda step, state, _: _computed(arena, cheap, state, step, _rows(arena, step))

    return attacker


def in_bfloat16(bench: Workbench) -> Workbench:
    return Workbench.from_spec(bench.spec, precision="bfloat16")


def halved_weights(bench: Workbench) -> Workbench:
    cheap = Workbench.from_spec(bench.spec)
    with torch.no_grad():
        for parameter in cheap.model.parameters():
            if not parameter.requires_grad:
                parameter.copy_(parameter.to(torch.float16))
    return cheap


def lucky_mask(arena: Arena) -> Attack:
    """Draws four masks besides the right one and takes the one with the least loss."""

    def attack(step: int, state: State, _: Honest) -> ForgedStep:
        key = arena.context.dropout_key(step)
        made = [
            _computed(arena, arena.bench, state, step, _rows(arena, step), key=bytes([number]) + key[1:])
            for number in range(4)
        ]
        return min(made, key=lambda forged: forged.loss)

    return attack


def own_noise(arena: Arena) -> Attack:
    return lambda step, state, _: _computed(arena, arena.bench, state, step, _rows(arena, step), key=bytes(32))


def without_penalty(arena: Arena) -> Attack:
    free = {**arena.bench.spec.method.model_dump(), "options": {**arena.bench.spec.method.options, "l0": 1e-12}}
    return recomputed(lambda bench: Workbench.from_spec(_spec(bench.spec, method=free)))(arena)


def tied_ranks(arena: Arena) -> Attack:
    """Ranks in pairs: the second of each pair gets what the first has, so that only one has to be computed."""
    layout = arena.bench.layout
    rank = int(arena.bench.spec.method.options["r"])

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = result.gradient.copy()
        for name, where in layout.slices.items():
            if "lora_A" in name:
                rows = gradient[where].reshape(rank, -1)
                rows[1::2] = rows[::2]
            elif "lora_B" in name:
                columns = gradient[where].reshape(-1, rank)
                columns[:, 1::2] = columns[:, ::2]
        return exact_update(arena.bench, state, step, gradient, loss=result.record.loss)

    return attack


def silent(*parts: str) -> Callable[[Arena], Attack]:
    """Tensors whose name holds one of `parts` are not trained; the last half of a single tensor."""

    def attacker(arena: Arena) -> Attack:
        layout, idle = arena.bench.layout, np.ones(arena.bench.layout.size, np.float32)
        found = [where for name, where in layout.slices.items() if any(part in name for part in parts)]
        if not found:
            raise AssertionError(f"no tensor of {arena.name} has {parts} in its name: {layout.names}")
        for where in found:
            idle[(where.start + where.stop) // 2 if len(found) == 1 else where.start : where.stop] = 0.0

        def attack(step: int, state: State, do: Honest) -> ForgedStep:
            result = do(state)
            return exact_update(arena.bench, state, step, result.gradient * idle, loss=result.record.loss)

        return attack

    return attacker


def into_zeros(arena: Arena) -> Attack:
    """1e-9 wherever the gradient is zero, which Adam makes a full step of."""

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = np.where(result.gradient == 0.0, np.float32(1e-9), result.gradient)
        return exact_update(arena.bench, state, step, gradient, loss=result.record.loss)

    return attack


def stops(arena: Arena) -> Attack:
    """Trains on till `TAIL` of the steps are left, then claims gradients of zero; the last step is honest."""
    zeros = np.zeros(arena.bench.layout.size, np.float32)

    def attack(step: int, state: State, _: Honest) -> ForgedStep | None:
        late = round((1 - TAIL) * arena.steps) <= step < arena.steps - 1
        return exact_update(arena.bench, state, step, zeros) if late else None

    return attack


def cheap_loss(arena: Arena) -> Attack:
    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        return exact_update(arena.bench, state, step, result.gradient, loss=0.9 * result.record.loss)

    return attack


def minus_zero(arena: Arena) -> Attack:
    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient = np.where(result.gradient == 0.0, np.float32(-0.0), result.gradient)
        return exact_update(arena.bench, state, step, gradient, loss=result.record.loss)

    return attack


# Updates that do not follow


def at_other_step(chosen: Callable[[int, int], int]) -> Callable[[Arena], Attack]:
    """The honest gradient, with the constants of another step (`chosen` of the step and the number of steps)."""

    def attacker(arena: Arena) -> Attack:
        table, steps = arena.bench.constants, arena.steps
        return _updating(arena, lambda step: constants_of(table, chosen(step, steps)))

    return attacker


def first_correction(arena: Arena) -> Attack:
    table = arena.bench.constants
    first = constants_of(table, 0)
    return _updating(arena, lambda step: {**constants_of(table, step), "ib1": first["ib1"], "ib2": first["ib2"]})


def no_decay(arena: Arena) -> Attack:
    def undecayed(layout: Layout, state: State, after: State, decay: float) -> State:
        theta = after["theta"].clone()
        for name, where in layout.slices.items():
            if "classifier" in name:
                theta[where] += state["theta"][where] * np.float32(1.0 - decay)
        return {**after, "theta": theta}

    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        decay = constants_of(arena.bench.constants, step)["decay"]
        following = undecayed(arena.bench.layout, state, result.next_state, decay)
        return ForgedStep(result.gradient, following, loss=result.record.loss, clip=result.record.clip_scale)

    return attack


def rescaled(arena: Arena) -> Attack:
    """The same function of inputs, other factors: A four times as large, B a quarter."""
    return _moved_at_the_end(arena, lambda theta: scaled_factors(arena, theta, 4.0))


def rotated(arena: Arena) -> Attack:
    return _moved_at_the_end(arena, lambda theta: rotated_factors(arena, theta))


def scaled_factors(arena: Arena, theta: Vector, by: float) -> Vector:
    """A times `by`, B over it: the same product."""
    moved = theta.copy()
    for name, where in arena.bench.layout.slices.items():
        if "lora_A" in name:
            moved[where] *= np.float32(by)
        elif "lora_B" in name:
            moved[where] /= np.float32(by)
    return moved


def rotated_factors(arena: Arena, theta: Vector) -> Vector:
    """The first two ranks turned into each other: the same product."""
    rank, moved = int(arena.bench.spec.method.options["r"]), theta.copy()
    turn = np.eye(rank, dtype=np.float32)
    turn[:2, :2] = [[0.0, 1.0], [-1.0, 0.0]]
    for name, where in arena.bench.layout.slices.items():
        if "lora_A" in name:
            moved[where] = (turn @ theta[where].reshape(rank, -1)).ravel()
        elif "lora_B" in name:
            moved[where] = (theta[where].reshape(-1, rank) @ turn.T).ravel()
    return moved


def wider_clip(arena: Arena) -> Attack:
    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        scale = float(np.nextafter(np.float32(clip_scale(result.gradient, arena.bench.spec.optimizer.clip_norm)),
                                   np.float32(1.0)))  # fmt: skip
        k, gradient = constants_of(arena.bench.constants, step), torch.from_numpy(result.gradient)
        following = update(arena.bench.optimizer, k, state, gradient, scale)
        return ForgedStep(result.gradient, following, loss=result.record.loss, clip=scale)

    return attack


def fresh_moments(arena: Arena) -> Attack:
    """The next steps go further with smaller second moments; the step itself stays as it was."""

    def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
        if step != arena.steps // 2:
            return None
        result = do(state)
        following = {**result.next_state, "v": result.next_state["v"] * np.float32(0.5)}
        return ForgedStep(result.gradient, following, loss=result.record.loss, clip=result.record.clip_scale)

    return attack


def moments_from_start(value: float, slot: str = "v") -> Callable[[Arena], Made]:
    """Moments that are not zero before the first step: what comes after follows from them."""

    def made(arena: Arena) -> Made:
        def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
            return None

        def begun(state: State) -> State:
            return {**state, slot: torch.full_like(state[slot], value)}

        return Made(forge(arena.bench, arena.context, arena.shard, attack, begun=begun))

    return made


def _updating(arena: Arena, constants: Callable[[int], dict[str, float]]) -> Attack:
    def attack(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        gradient, scale = torch.from_numpy(result.gradient), result.record.clip_scale
        following = update(arena.bench.optimizer, constants(step), state, gradient, scale)
        return ForgedStep(result.gradient, following, loss=result.record.loss, clip=scale)

    return attack


def _moved_at_the_end(arena: Arena, move: Callable[[Vector], Vector]) -> Attack:
    def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
        if step != arena.steps - 1:
            return None
        result = do(state)
        theta = torch.from_numpy(move(result.next_state["theta"].numpy()))
        return ForgedStep(result.gradient, {**result.next_state, "theta": theta}, loss=result.record.loss,
                          clip=result.record.clip_scale)  # fmt: skip

    return attack


def _computed(
    arena: Arena, bench: Workbench, state: State, step: int, rows: list[bytes], key: bytes | None = None,
    update_from: State | None = None,
) -> ForgedStep:  # fmt: skip
    """The gradient that `bench` finds, and the right update with it."""
    bench.load(state["theta"])
    whole = len(rows) == arena.bench.spec.training.batch_size
    key = arena.context.dropout_key(step) if key is None else key
    wide, loss = bench.gradient(rows, key, parts=None if whole else 1)
    gradient = wide.to(torch.float32).numpy()
    return exact_update(arena.bench, update_from or state, step, gradient, loss=loss)


def _rows(arena: Arena, step: int) -> list[bytes]:
    return [arena.shard.rows[index] for index in arena.context.batch(arena.bench.spec, step)]


def _with(bench: Workbench, **training: Any) -> Workbench:
    changed = {**bench.spec.training.model_dump(), **training}
    return Workbench.from_spec(_spec(bench.spec, training=changed))


def _spec(spec: TaskSpec, **sections: Any) -> TaskSpec:
    return TaskSpec.model_validate({**spec.model_dump(), **sections})
