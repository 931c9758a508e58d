"""Federated rounds under an exchange codec, kept round by round under `build/`: a run that ended early goes on.

The demo's task: LoRA of rank 8 on MiniLM, three trainers (imdb, yelp, amazon), Adam, the mean of decoded deltas.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared.lora_rounds import SOURCES, sentiment_rows
from benchmarks.shared.places import BUILD
from benchmarks.shared.tuning_tasks import MINILM
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.codecs import Mask
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import DrawnRound, RoundContext, run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["METHODS", "Cell", "Members"]

CACHE = BUILD / "codecs"
TRAINING_ROWS = 600
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"name": "lora", "options": {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}},
    "pfeiffer": {"name": "pfeiffer", "options": {"size": 8}},
    "shira": {"name": "shira", "options": {"fraction": 0.05}},
}


@dataclass(frozen=True)
class Members:
    """Trainers with a shard each, and held-out rows of all."""

    shards: tuple[Shard, ...]
    held_out: tuple[bytes, ...]

    @classmethod
    def of(cls, test: int) -> Members:
        """`test` held-out rows of each source."""
        shards = tuple(Shard(tuple(sentiment_rows(s, 0, TRAINING_ROWS)), Digest32(bytes(32))) for s in SOURCES)
        first = TRAINING_ROWS + 100
        return cls(shards, tuple(row for s in SOURCES for row in sentiment_rows(s, first, first + test)))


@dataclass
class Progress:
    """Where a federation is: the adapter, each trainer's memory, and what every round so far was measured as."""

    start: Vector
    memories: list[Vector | None]
    rounds: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, fresh: Progress) -> Progress:
        if not path.is_file():
            return fresh
        with np.load(path, allow_pickle=False) as kept:
            names = [f"memory{i}" for i in range(len(fresh.memories))]
            memories = [kept[name] if name in kept.files else None for name in names]
            return cls(kept["start"], memories, json.loads(kept["rounds"].tobytes()))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.partial.npz")
        memories = {f"memory{i}": memory for i, memory in enumerate(self.memories) if memory is not None}
        said = np.frombuffer(json.dumps(self.rounds).encode(), np.uint8)
        np.savez(partial, start=self.start, rounds=said, **memories)
        os.replace(partial, path)


@dataclass(frozen=True)
class Cell:
    """One federation under one codec."""

    federation: Members
    method: str
    codec: Mapping[str, Any]
    steps: int
    seed: int

    @cached_property
    def spec(self) -> TaskSpec:
        return complete_spec(
            MINILM,
            "sequence-classification",
            {
                "model": {"max_tokens": 32},
                "method": {**METHODS[self.method], "seed": "0x" + bytes([self.seed]).hex() * 32},
                "optimizer": {"name": "adam", "learning_rate": 4e-3, "weight_decay": 0.0, "schedule": "linear"},
                "training": {"steps": self.steps, "batch_size": 8, "numeric": "bounded"},
                "codec": dict(self.codec),
            },
        )

    @cached_property
    def _path(self) -> Path:
        rows = (*(bytes(shard.root) for shard in self.federation.shards), *self.federation.held_out)
        named = sha256(bytes(self.spec.digest()) + b"\x00".join(rows)).hexdigest()
        return CACHE / f"{named[:32]}.npz"

    def measure(self, rounds: int) -> dict[str, Any]:
        """Accuracy and loss after each round, which rows were right, and bytes of a trainer's delta a round."""
        bench = Workbench.from_spec(self.spec, precision="float32")
        evaluator = Evaluator(bench, self.federation.held_out)
        progress = Progress.load(self._path, Progress(bench.initial_state(), [None] * len(self.federation.shards)))
        while len(progress.rounds) < rounds:
            sizes = self._play(bench, progress)
            progress.rounds.append(self._measured(evaluator, progress.start) | {"bytes": sizes})
            progress.save(self._path)
        played = progress.rounds[:rounds]
        size = float(np.mean([round_["bytes"] for round_ in played]))
        return {
            "bytes": size,
            "times_fewer": 4 * bench.layout.size / size,
            "held_out": len(self.federation.held_out),
            "rounds": [{k: v for k, v in round_.items() if k != "bytes"} for round_ in played],
        }

    def _play(self, bench: Workbench, progress: Progress) -> list[int]:
        """One round of everybody; `progress` is after it. Returns bytes of each delta."""
        start, round_ = progress.start, len(progress.rounds) + 1
        reached, masks, sizes = [], [], []
        for number, shard in enumerate(self.federation.shards):
            drawn = DrawnRound(0, round_, bytes([self.seed]) * 32, component_root(start))
            context = drawn.with_shard(bytes([number]) * 20, shard)
            theta, size, progress.memories[number] = self._train(
                bench, context, start, shard, progress.memories[number]
            )
            reached.append(theta)
            sizes.append(size)
            masks.append(bench.codec.mask(context.key))
        progress.start = aggregate_thetas(bench, reached, None, _all_masks(masks))[0]
        return sizes

    def _train(
        self, bench: Workbench, context: RoundContext, start: Vector, shard: Shard, memory: Vector | None
    ) -> tuple[Vector, int, Vector | None]:
        """The adapter that a trainer's delta leads to, the delta's bytes, and the memory after it."""
        state = start_state(bench, start)
        for step in range(self.steps):
            state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
        theta = state["theta"].numpy()
        if bench.codec.plain:
            return theta, 4 * len(theta), None
        sent = bench.codec.encode(start, theta, memory, context.key)
        return sent.theta, len(sent.data), sent.memory

    def _measured(self, evaluator: Evaluator, theta: Vector) -> dict[str, Any]:
        found = evaluator.evaluate_means([theta], np.ones((1, 1)))
        mean = found.mean(0)
        right = np.packbits(found.hits[0].astype(np.bool_)).tobytes().hex()
        return {"accuracy": mean.accuracy, "loss": mean.loss, "right": right}


def _all_masks(masks: Sequence[Mask | None]) -> list[Mask] | None:
    found = [mask for mask in masks if mask is not None]
    return found or None
