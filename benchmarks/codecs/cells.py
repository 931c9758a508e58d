"""Federated rounds of one arm on one task: quality after each, and the bytes of everything that is published.

Three trainers with a third of the rows each, Adam, the mean of decoded deltas; moments start at zero in each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from benchmarks.codecs.arms import Arm
from benchmarks.shared.tuning_tasks import DEV, TASKS, Data
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas
from deltaproof.tuning.errors import DivergenceError
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import DrawnRound, RoundContext, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["ROUNDS", "STEPS", "TRAINERS", "play", "rows_of"]

ROUNDS = 4
STEPS = 12
TRAINERS = 3
BATCH = 8
TRAIN = 600
TEST = 400
FEW = 200
"""Held-out rows of a task that would have fewer than this to train on beside `TEST`."""


@cache
def rows_of(task: str) -> Data:
    """Rows of a text task: to deal out, and held out."""
    make = {**TASKS, **DEV}[task]
    data = make(task, TRAIN, TEST)
    return data if len(data.train) >= FEW else make(task, TRAIN, FEW)


def play(data: Data, arm: Arm, rate: float, seed: int) -> dict[str, Any]:
    """Accuracy, loss and the rows that were right after each round; bytes that a trainer publishes a round."""
    spec = complete_spec(
        data.source,
        data.kind,
        {
            "model": dict(data.model),
            **arm.sections,
            "optimizer": {"name": "adam", "learning_rate": rate, "weight_decay": 0.0, "schedule": "linear"},
            "training": {"steps": STEPS, "batch_size": BATCH, "numeric": "bounded"},
        },
    )
    spec = spec.model_copy(update={"method": spec.method.model_copy(update={"seed": bytes([seed]) * 32})})
    bench = Workbench.from_spec(spec, precision="float32")
    federation = Federation(bench, [Shard(data.train[i::TRAINERS], Digest32(bytes(32))) for i in range(TRAINERS)], seed)
    evaluator, rounds, start = Evaluator(bench, data.test), [], bench.initial_state()
    for number in range(1, ROUNDS + 1):
        try:
            start, sizes = federation.round(start, number)
        except DivergenceError:
            break
        rounds.append(_quality(evaluator, start) | {"bytes": float(np.mean(sizes))})
    return {"rate": rate, "values": bench.layout.size, "held_out": len(data.test), "rounds": rounds}


@dataclass
class Federation:
    """Trainers and what each carries on from round to round."""

    bench: Workbench
    shards: Sequence[Shard]
    seed: int
    memories: list[Vector | None] = field(init=False)

    def __post_init__(self) -> None:
        self.memories = [None] * len(self.shards)

    def round(self, start: Vector, number: int) -> tuple[Vector, list[int]]:
        """The adapter after a round, and the bytes that each trainer published."""
        reached, masks, sizes = [], [], []
        for who, shard in enumerate(self.shards):
            drawn = DrawnRound(0, number, bytes([self.seed]) * 32, component_root(start))
            context = drawn.with_shard(bytes([who]) * 20, shard)
            theta, size = self._delta(who, context, start, self._trained(context, shard, start))
            reached.append(theta)
            sizes.append(size)
            masks.append(self.bench.codec.mask(context.key))
        return aggregate_thetas(self.bench, reached, None, _all(masks))[0], sizes

    def _trained(self, context: RoundContext, shard: Shard, start: Vector) -> Vector:
        state = start_state(self.bench, start)
        for step in range(self.bench.spec.training.steps):
            state = run_step(self.bench, context, state, step, batch_rows(self.bench, context, shard, step)).next_state
        theta: Vector = state["theta"].numpy()
        return theta

    def _delta(self, who: int, context: RoundContext, start: Vector, theta: Vector) -> tuple[Vector, int]:
        """What a trainer's delta leads to, and the bytes of it and of a memory that is fed back."""
        if self.bench.codec.plain:
            return theta, 4 * len(theta)
        sent = self.bench.codec.encode(start, theta, self.memories[who], context.key)
        self.memories[who] = sent.memory
        return sent.theta, len(sent.data) + (0 if sent.memory is None else 4 * len(sent.memory))


def _quality(evaluator: Evaluator, theta: Vector) -> dict[str, Any]:
    found = evaluator.evaluate_means([theta], np.ones((1, 1)))
    mean = found.mean(0)
    right = np.packbits(found.hits[0].astype(np.bool_)).tobytes().hex()
    return {"accuracy": mean.accuracy, "loss": mean.loss, "right": right}


def _all(masks: Sequence[Mask | None]) -> list[Mask] | None:
    found = [mask for mask in masks if mask is not None]
    return found or None
