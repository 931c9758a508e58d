"""Are honest trainers refused anywhere? Regimes, not only machines: learnt data, huge losses, words, every method.

    python -m benchmarks.replay.regimes [--profile full|short] [--work DIR]

Each case is a round in bounded mode, trained under one machine configuration in a process of its own and judged under
another: every step by itself, and all of them by the drift test. Openings and verdicts are kept in `--work`, so an
interrupted run goes on. Results: docs/results/honest_regimes.md and its figures; the page names the profile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import (
    MACHINES,
    machine_facts,
    round_context,
    sentiment_shard,
    table,
    task,
    wilson,
    write_results,
)  # fmt: skip
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.replaying.drift import judge_drift, noise_steps
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.base_models.presets import Architecture, complete_spec, minimal_model
from deltaproof.tuning.methods import METHODS
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench

TRAINER, VERIFIER = "SSE4.2", "default, 1 thread"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/honest_regimes"))
    parser.add_argument("--worker", choices=("train", "judge"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    real, work = options.profile == "full", options.work / options.profile
    if options.worker:
        for name, regime in regimes(real):
            (train if options.worker == "train" else judge)(name, regime, real, work)
        return
    started = time.perf_counter()
    for worker, machine in (("train", TRAINER), ("judge", VERIFIER)):
        arguments = ["--profile", options.profile, "--work", str(options.work), "--worker", worker]
        command = [sys.executable, "-m", "benchmarks.replay.regimes", *arguments]
        subprocess.run(command, env={**os.environ, **MACHINES[machine]}, check=True)
    rows = [judge(name, regime, real, work) for name, regime in regimes(real)]
    document = {"machine": machine_facts(), "profile": options.profile, "rows": rows,
                "seconds": time.perf_counter() - started}  # fmt: skip
    write_results("honest_regimes", document, markdown(rows, options.profile, real))
    if any(row.get("refused") or row.get("leaning") for row in rows):
        sys.exit(1)


def spec_of(regime: Regime, real: bool, work: Path) -> TaskSpec:
    sections = dict(regime.sections or {})
    training = {"steps": regime.steps, "batch_size": 8, "numeric": "bounded", **sections.pop("training", {})}
    if real:
        model, tuned = "SmolLM2-135M" if regime.language else "MiniLM-L6", sections.pop("optimizer", {})
        spec = task(model, optimizer="adamw", numeric="bounded", steps=regime.steps, batch=8, tokens=32, rank=4,
                    training=training, **sections)  # fmt: skip
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


def folder_of(work: Path, name: str) -> Path:
    """Where the round of a regime is kept."""
    return work / "rounds" / name.replace(" ", "-").replace(":", "")


def train(name: str, regime: Regime, real: bool, work: Path) -> None:
    folder = folder_of(work, name)

    def recorded() -> dict[str, Any]:
        bench = Workbench.from_spec(spec_of(regime, real, work))
        shard = shard_of(regime, bench.spec)
        context = round_context(bench, shard)
        trained = train_round(bench, context, bench.initial_state(), shard, folder / "round", keep_every=1)
        for opening in open_steps(bench, context, shard, folder / "round", range(regime.steps)):
            (folder / f"{opening.before.step}.opening").write_bytes(serialize_opening(opening))
        return {"root": trained.transcript_root.hex(), "theta": trained.theta_digest.hex(), "losses": trained.losses}

    _or_why_not(folder / "trained", name, recorded)


def judge(name: str, regime: Regime, real: bool, work: Path) -> dict[str, Any]:
    folder = folder_of(work, name)
    trained = cell(folder / "trained", name, lambda: {"skipped": "never trained"})

    def judged() -> dict[str, Any]:
        verifier = Judge.from_spec(spec_of(regime, real, work))
        bench = verifier.reference
        context = ReplayContext(
            round_context(bench, shard_of(regime, bench.spec)),
            bytes.fromhex(trained["root"]), bytes.fromhex(trained["theta"]),
        )  # fmt: skip
        thorough = noise_steps(range(regime.steps))
        verdicts = [
            verifier.judge_bytes((folder / f"{t}.opening").read_bytes(), t, context, thorough=t in thorough)
            for t in range(regime.steps)
        ]
        samples = [verdict.drift for verdict in verdicts if verdict.drift is not None]
        drift = judge_drift(samples, bench.spec.training, bench.layout)
        refused = [verdict.message for verdict in verdicts if not verdict.accepted]
        worst = max((v.magnitude / v.bound for v in verdicts if v.accepted and v.bound), default=0.0)
        return {"replays": len(verdicts), "refused": refused, "leaning": [] if drift.accepted else [drift.message],
                "worst": worst, "drift": drift.magnitude}  # fmt: skip

    if "skipped" in trained:
        return {"regime": name, **trained}
    losses = trained["losses"]
    return {"regime": name, "first": losses[0], "least": min(losses), **_or_why_not(folder / "judged", name, judged)}


def _or_why_not(folder: Path, name: str, compute: Any) -> dict[str, Any]:
    """What a case gives, or why it makes no sense on this model: a method that does not fit it, or a divergence."""
    from deltaproof.tuning.errors import TuningError

    def computed() -> dict[str, Any]:
        try:
            found: dict[str, Any] = compute()
        except TuningError as error:
            return {"skipped": str(error)[:160]}
        return found

    return cell(folder, name, computed)


def markdown(rows: list[dict[str, Any]], profile: str, real: bool) -> str:
    done = [row for row in rows if "replays" in row]
    total, alarms = sum(row["replays"] for row in done), sum(len(row["refused"]) for row in done)
    leaning = sum(bool(row["leaning"]) for row in done)
    low, high = wilson(alarms, total)
    model = "MiniLM-L6 and SmolLM2-135M" if real else "a 2-layer BERT and a 2-layer LLaMA with random weights"
    cells = [
        (r["regime"], f"{r['first']:.2g}", f"{r['least']:.2g}", r["replays"], len(r["refused"]), f"{r['worst']:.3f}",
         f"{r['drift']:.3f}", "alarm" if r["leaning"] else "")
        for r in done
    ]  # fmt: skip
    left_out = [f"- {r['regime']}: {r['skipped']}" for r in rows if "skipped" in r]
    return "\n\n".join(
        [
            "# Honest replays, by regime",
            f"Profile **{profile}**: {model}, bounded mode, trained as on one machine ({TRAINER}), judged as on "
            f"another ({VERIFIER}). {total:,} replays, **{alarms} refused** (95 %: {low:.3%} to {high:.3%}); drift "
            f"alarms: {leaning} of {len(done)}. Made by `python -m benchmarks.replay.regimes"
            f"{'' if profile == 'full' else ' --profile ' + profile}`.",
            table(
                ("regime", "first loss", "least loss", "replays", "refused", "worst difference / allowed",
                 "drift / limit", "drift alarm"),
                cells,
            ),
            *(["Left out, with the reason:", "\n".join(left_out)] if left_out else []),
            f"Machine: {machine_facts()}",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
