"""A round on a tiny real model, and everything a verifier would know about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deltaproof.protocol.evidence.opened import CommittedSteps
from deltaproof.protocol.evidence.rows import Shard, canonical_row
from deltaproof.protocol.evidence.state import component_root
from deltaproof.protocol.evidence.transcript import StepOpening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.base_models.presets import Architecture, complete_spec, minimal_model
from deltaproof.tuning.training.recording import TrainedRound, open_steps, train_round
from deltaproof.tuning.training.step import DrawnRound, RoundContext
from deltaproof.tuning.training.workbench import Workbench

KINDS = {"bert": "sequence-classification", "llama": "causal-lm", "vit": "image-classification"}
WORDS = ("plain", "bright", "dull", "kind", "slow", "sharp", "warm", "odd")


def some_rows(kind: str, count: int = 24) -> tuple[bytes, ...]:
    def fields(i: int) -> dict[str, object]:
        text = f"a {WORDS[i % 8]} film of {i} {WORDS[i // 3 % 8]} scenes"
        match kind:
            case "causal-lm":
                return {"prompt": "Review: ", "completion": text} if i % 5 == 0 else {"text": text}
            case "image-classification":
                return {"pixels": [(i * 31 + k * 7) % 256 for k in range(64)], "label": i % 2}
            case _:
                return {"text": text, "label": i % 2}

    return tuple(canonical_row(fields(i)) for i in range(count))


def minimal_spec(folder: Path, architecture: Architecture = "bert", **sections: Mapping[str, Any]) -> TaskSpec:
    """A spec around a tiny model in `folder`, made there if need be. Keyword arguments override keys by section."""
    if not (folder / "config.json").is_file():
        minimal_model(folder, architecture)
    if architecture == "vit":
        sections.setdefault("method", {"options": {"r": 4, "target_modules": ["q_proj", "v_proj"]}})
    return complete_spec(f"path:{folder}", KINDS[architecture], sections)


@dataclass(frozen=True)
class Rehearsal:
    """A trained round with its bench, and the context that a verifier judges it in."""

    bench: Workbench
    shard: Shard
    context: RoundContext
    trained: TrainedRound
    folder: Path

    @property
    def spec(self) -> TaskSpec:
        return self.bench.spec

    @property
    def replay_context(self) -> ReplayContext:
        return ReplayContext(self.context, self.trained.transcript_root, self.trained.theta_digest)

    @property
    def committed(self) -> CommittedSteps:
        return self.context.committed_steps(self.spec, self.bench.layout.size, self.trained.transcript_root)

    def openings(self, steps: Iterable[int]) -> list[StepOpening]:
        return list(open_steps(self.bench, self.context, self.shard, self.folder, steps))

    def judge(self) -> Judge:
        return Judge.from_spec(self.spec)


def context_for(bench: Workbench, shard: Shard, **changes: Any) -> RoundContext:
    drawn = DrawnRound(3, 1, bytes(range(32)), component_root(bench.initial_state()))
    return replace(drawn.with_shard(bytes(range(20)), shard), **changes)


def rehearse(spec: TaskSpec, folder: Path, bench: Workbench | None = None, **options: Any) -> Rehearsal:
    """Train a round of `spec` into `folder`, on `bench` if one is given."""
    bench = bench or Workbench.from_spec(spec)
    shard = Shard(some_rows(spec.model.kind), Digest32(bytes(32)))
    context = context_for(bench, shard)
    trained = train_round(bench, context, bench.initial_state(), shard, folder, **options)
    return Rehearsal(bench, shard, context, trained, folder)
