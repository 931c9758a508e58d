"""Regimes of honest training: learnt data, huge losses, words, every method, two kinds of models.

`benchmarks.replay.honest` judges rounds of each between machines, `benchmarks.replay.margins` measures their rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.shared.replay_tasks import sentiment_shard, task
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.presets import Architecture, complete_spec, minimal_model
from deltaproof.tuning.methods import METHODS

ADAMW: Mapping[str, Any] = {"name": "adamw", "learning_rate": 3e-3}
WORDS = {"name": "lora", "options": {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value", "word_embeddings"]}}


@dataclass(frozen=True)
class Regime:
    """Steps of the round, rows that are taken, and sections of the spec."""

    steps: int
    label: int | None = None
    rows: int = 600
    sections: Mapping[str, Mapping[str, Any]] | None = None
    language: bool = False
    """A causal language model in place of a classifier."""


def regimes(real: bool) -> Iterator[tuple[str, Regime]]:
    long, brief = (120, 24) if real else (40, 8)
    yield "late training", Regime(long, sections={"optimizer": ADAMW})
    yield "one label, learnt", Regime(long, 1, 200, {"optimizer": {**ADAMW, "learning_rate": 1e-2}})
    yield "eight rows, learnt", Regime(long, None, 8, {"optimizer": {**ADAMW, "learning_rate": 1e-2}})
    fast = {**ADAMW, "learning_rate": 1e-2}
    yield "language, late training", Regime(long, sections={"optimizer": ADAMW}, language=True)
    yield "language, eight rows, learnt", Regime(long, None, 8, {"optimizer": fast}, language=True)
    yield "language, accumulation", Regime(brief, sections={"training": {"accumulation": 4}}, language=True)
    yield "diverging: learning rate 1", Regime(brief, sections={"optimizer": {**ADAMW, "learning_rate": 1.0}})
    yield "tiny steps: learning rate 1e-9", Regime(brief, sections={"optimizer": {**ADAMW, "learning_rate": 1e-9}})
    yield "words tuned", Regime(long, sections={"method": WORDS, "optimizer": ADAMW})
    yield "dropout", Regime(brief, sections={"training": {"dropout": True}})
    yield "accumulation", Regime(brief, sections={"training": {"accumulation": 4}})
    yield "clipped", Regime(brief, sections={"optimizer": {**ADAMW, "clip_norm": 1e-3}})
    for rank in (1, 64 if real else 8):
        options = {"r": rank, "lora_alpha": 2 * rank, "target_modules": ["query", "value"]}
        yield f"rank {rank}", Regime(brief, sections={"method": {"name": "lora", "options": options}})
    for name in sorted(METHODS):
        if name != "lora":
            yield f"method {name}", Regime(brief, sections={"method": {"name": name, "options": {}}})


def spec_of(regime: Regime, real: bool, work: Path) -> TaskSpec:
    sections = dict(regime.sections or {})
    training = {"steps": regime.steps, "batch_size": 8, "numeric": "bounded", **sections.pop("training", {})}
    if real:
        model, tuned = "SmolLM2-135M" if regime.language else "MiniLM-L6", sections.pop("optimizer", {})
        spec = task(model, optimizer="adamw", numeric=training["numeric"], steps=regime.steps, batch=8, tokens=32,
                    rank=4, training=training, **sections)  # fmt: skip
        optimizer = {**spec.optimizer.model_dump(), **tuned}
        return TaskSpec.model_validate({**spec.model_dump(), "optimizer": optimizer})
    architecture: Architecture = "llama" if regime.language else "bert"
    folder = work / architecture
    if not (folder / "config.json").is_file():
        minimal_model(folder, architecture)
    source, shape = f"path:{folder}", {"max_tokens": 16}
    kind = "causal-lm" if regime.language else "sequence-classification"
    return complete_spec(source, kind, {"training": training, "model": shape, **sections})


def shard_of(regime: Regime, spec: TaskSpec) -> Shard:
    rows = sentiment_shard(spec.model.kind).rows
    if regime.label is not None:
        rows = tuple(row for row in rows if f'"label":{regime.label}'.encode() in row)
    return Shard(tuple(dict.fromkeys(rows))[: regime.rows], Digest32(bytes(32)))
