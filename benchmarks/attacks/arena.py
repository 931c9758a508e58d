"""The attackers on verified training, each a rule for what to record in place of an honest step.

The names follow the public literature: interpolated checkpoints (Fang et al. 2023), synthesised batches (Zhang et al.
2022), reordered data (Shumailov et al. 2021), base-weight swaps (TOPLOC).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attacks.forging import Attack, Forged, ForgedStep, Honest, exact_update, forge
from benchmarks.shared.replay_tasks import round_context, sentiment_shard, task
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.base_models.presets import complete_spec, minimal_model
from deltaproof.tuning.training.optimizers import State
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench


@dataclass(frozen=True)
class Arena:
    """A task, the honest trainer's round in it, and the judge."""

    name: str
    bench: Workbench
    judge: Judge
    shard: Shard
    context: RoundContext

    @classmethod
    def of(cls, name: str, spec: TaskSpec, shard: Shard) -> Arena:
        bench = Workbench.from_spec(spec)
        judge = Judge.from_spec(spec)
        return cls(name, bench, judge, shard, round_context(bench, shard))

    @property
    def steps(self) -> int:
        return self.bench.spec.training.steps

    def forge(self, attack: Attack, **changes: Any) -> Forged:
        return forge(
            self.bench, changes.pop("context", self.context), changes.pop("shard", self.shard), attack, **changes
        )


def minilm(numeric: str, steps: int) -> Arena:
    spec = task("MiniLM-L6", optimizer="adamw", numeric=numeric, steps=steps, batch=4, tokens=32, rank=2)
    return Arena.of(f"MiniLM-L6, {numeric}", spec, sentiment_shard(spec.model.kind))


def tiny(folder: Path, numeric: str, steps: int) -> Arena:
    source = minimal_model(folder / "bert", "bert")
    spec = complete_spec(
        f"path:{source}", "sequence-classification",
        {"training": {"steps": steps, "batch_size": 2, "numeric": numeric}, "model": {"max_tokens": 12}},
    )  # fmt: skip
    return Arena.of(f"2-layer BERT, {numeric}", spec, sentiment_shard(spec.model.kind, rows=200))


# Attacks on the whole run


def whole_run_attacks(arena: Arena) -> Iterator[tuple[str, str, Forged | tuple[Forged, RoundContext]]]:
    """Name, what it corrupts, and the transcript, with the context it is judged in where that is another one."""
    yield from made_up_attacks(arena)
    yield from swap_attacks(arena)


def made_up_attacks(arena: Arena) -> Iterator[tuple[str, str, Forged | tuple[Forged, RoundContext]]]:
    """States, gradients or rows that no training gave."""
    bench, steps, shard, context = arena.bench, arena.steps, arena.shard, arena.context
    honest = arena.forge(lambda *_: None)
    target = honest.theta
    start = bench.initial_state()
    size = bench.layout.size

    def interpolated(step: int, state: State, _: Honest) -> ForgedStep:
        """States on the straight line to a wanted adapter; moments and gradients made up to look small."""
        share = np.float32((step + 1) / steps)
        theta = start + share * (target - start)
        return ForgedStep(np.zeros(size, np.float32), {**state, "theta": torch.from_numpy(theta)})

    yield "interpolated checkpoints", "every step", arena.forge(interpolated)

    slow = {"optimizer": {**bench.spec.optimizer.model_dump(), "learning_rate": 1e-9}}
    lazy = replace(bench, spec=type(bench.spec).model_validate({**bench.spec.model_dump(), **slow}))
    yield "learning rate near zero", "every update", forge(lazy, context, shard, lambda *_: None)

    def wanted_gradient(step: int, state: State, _: Honest) -> ForgedStep:
        """The gradient towards a wanted adapter, as synthesised batches would give it; honest optimiser."""
        pull = (state["theta"].numpy() - target).astype(np.float32)
        return exact_update(bench, state, step, pull)

    yield "gradient of synthesised batches, real rows shown", "every gradient", arena.forge(wanted_gradient)

    crafted = Shard(
        tuple(canonical_row({"text": f"crafted {i}", "label": i % 2}) for i in range(600)), Digest32(bytes(32))
    )
    yield "synthesised batches in place of the enrolled rows", "all rows", arena.forge(lambda *_: None, shard=crafted)

    def last_step(step: int, state: State, do: Honest) -> ForgedStep | None:
        if step < steps - 1:
            return None
        result = do(state)
        planted = result.next_state["theta"].clone()
        planted[:64] += 0.5
        return ForgedStep(result.gradient, {**result.next_state, "theta": planted}, loss=result.record.loss)

    yield "backdoor edit in the last step", "1 step", arena.forge(last_step)


def swap_attacks(arena: Arena) -> Iterator[tuple[str, str, Forged | tuple[Forged, RoundContext]]]:
    """Honest arithmetic on something else than the task says."""
    bench, shard, context = arena.bench, arena.shard, arena.context
    start = bench.initial_state()

    other = replace(context, order_seed=bytes(32))
    yield "order of one's own choice", "all batches", (arena.forge(lambda *_: None, context=other), context)

    easy = np.argsort([len(row) for row in shard.rows])[: bench.spec.training.batch_size]

    def repeated(step: int, state: State, _: Honest) -> ForgedStep:
        bench.load(state["theta"])
        gradient, loss = bench.gradient([shard.rows[i] for i in easy], b"")
        shown = tuple(shard.open(int(i)) for i in easy)
        return exact_update(bench, state, step, gradient.float().numpy(), rows=shown, loss=loss)

    yield "the same easy rows in every step", "all batches", arena.forge(repeated)

    def hidden(step: int, state: State, do: Honest) -> ForgedStep:
        return replace(repeated(step, state, do), rows=None)

    yield "easy rows, derived rows shown", "every gradient", arena.forge(hidden)

    for name, precision in (("float32", "float32"), ("bfloat16", "bfloat16")):
        cheap = Workbench.from_spec(bench.spec, precision=precision)  # type: ignore[arg-type]
        yield f"{name} where the task says exact", "every gradient", forge(cheap, context, shard, lambda *_: None)

    swapped = Workbench.from_spec(bench.spec)
    with torch.no_grad():
        for parameter in swapped.model.parameters():
            if not parameter.requires_grad:
                parameter.copy_(parameter.to(torch.bfloat16))
    yield "base weights rounded to bfloat16", "every gradient", forge(swapped, context, shard, lambda *_: None)

    decay = {"optimizer": {**bench.spec.optimizer.model_dump(), "weight_decay": 0.0}}
    undecayed = replace(bench, spec=type(bench.spec).model_validate({**bench.spec.model_dump(), **decay}))
    yield "other hyper-parameters (no weight decay)", "every update", forge(undecayed, context, shard, lambda *_: None)

    for what, change in (
        ("trainer", {"trainer": b"\x33" * 20}), ("task", {"task_id": 2}), ("round", {"round": 1}),
        ("chain or contract", {"order_seed": b"\x44" * 32}),  # each draws its own
    ):  # fmt: skip
        borrowed = arena.forge(lambda *_: None, context=replace(context, **change))
        yield f"honest transcript of another {what}", "all batches", (borrowed, context)

    yield from rank_attacks(arena)

    moved = (start + np.float32(1e-3)).astype(np.float32)
    yield "another starting adapter", "the start", arena.forge(lambda *_: None, start=moved)

    def one_ulp(step: int, state: State, do: Honest) -> ForgedStep:
        """Adaptive: knows the near-tie rule, moves one value of each gradient by a single float32 step."""
        result = do(state)
        gradient = result.gradient.copy()
        index = int(np.argmax(np.abs(gradient)))
        gradient[index] = np.nextafter(gradient[index], np.float32(np.inf))
        return exact_update(bench, state, step, gradient, loss=result.record.loss)

    yield "adaptive: one value, one float32 step", "1 value a step", arena.forge(one_ulp)


def rank_attacks(arena: Arena) -> Iterator[tuple[str, str, tuple[Forged, RoundContext]]]:
    """A smaller adapter than the task asks for: as it is, and dressed up as the full one."""
    bench, context = arena.bench, arena.context
    rank = int(bench.spec.method.options["r"])
    method = bench.spec.method.model_dump()
    halved = {"method": {**method, "options": {**method["options"], "r": rank // 2}}}
    small = Workbench.from_spec(type(bench.spec).model_validate({**bench.spec.model_dump(), **halved}))
    forged = forge(small, context, arena.shard, lambda *_: None)
    yield f"adapter of rank {rank // 2} where the task says {rank}", "every state", (forged, context)

    idle = np.ones(bench.layout.size, np.float32)
    for name, where in bench.layout.slices.items():
        # A has shape [rank, inputs], B [outputs, rank]: one row or column of each product stays as it was.
        if "lora_A" in name:
            idle[where].reshape(rank, -1)[rank // 2 :] = 0.0
        elif "lora_B" in name:
            idle[where].reshape(-1, rank)[:, rank // 2 :] = 0.0

    def lazy(step: int, state: State, do: Honest) -> ForgedStep:
        result = do(state)
        return exact_update(bench, state, step, result.gradient * idle, loss=result.record.loss)

    yield f"rank {rank // 2}, the rest never trained", "every gradient", (arena.forge(lazy), context)


# Attacks that hope not to be sampled


def chance_attacks(arena: Arena) -> Iterator[tuple[str, str, Forged]]:
    bench, steps = arena.bench, arena.steps
    generator = np.random.default_rng(5)

    def made_up(chosen: set[int]) -> Attack:
        """Skip the chosen steps: no model is run, the last gradient is used again, the optimiser is honest."""
        latest: list[Vector] = []

        def attack(step: int, state: State, do: Honest) -> ForgedStep | None:
            if step in chosen and latest:
                return exact_update(bench, state, step, latest[-1])
            result = do(state)
            latest[:] = [result.gradient]
            return ForgedStep(
                result.gradient, result.next_state, loss=result.record.loss, clip=result.record.clip_scale
            )

        return attack

    for share in (0.01, 0.05, 0.2, 0.5):
        count = max(1, round(share * steps))
        chosen = set((1 + generator.choice(steps - 2, count, replace=False)).tolist())
        yield f"skipped steps, made up ({share:.0%})", f"{count} steps", arena.forge(made_up(chosen))
    tail = set(range(int(0.9 * steps), steps - 1))
    yield "fewer epochs: the last tenth made up", f"{len(tail)} steps", arena.forge(made_up(tail))
    yield "one bad step, neither first nor last", "1 step", arena.forge(made_up({steps // 2}))

    other = replace(arena.context, order_seed=bytes(32))
    elsewhere = {s.before.step: s for s in arena.forge(lambda *_: None, context=other).openings}

    def spliced(step: int, state: State, do: Honest) -> ForgedStep | None:
        """Jump to another honest trajectory in the middle, then go on honestly from there."""
        if step != steps // 3:
            return None
        result = do(state)
        jump = {slot: torch.from_numpy(values) for slot, values in elsewhere[step + 1].state.items()}
        return ForgedStep(result.gradient, jump, loss=result.record.loss, clip=result.record.clip_scale)

    yield "spliced trajectories", "1 step", arena.forge(spliced)
