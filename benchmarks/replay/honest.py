"""Do honest trainers ever fail a replay? Train on one machine configuration, verify on another, every pair.

    python -m benchmarks.replay.honest [--profile full|short] [--work DIR]

Each configuration runs in a process of its own; `--work` keeps transcripts and verdicts, so that an interrupted run
goes on where it stopped. Results: docs/results/honest_replays.md (the short profile only prints).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from benchmarks.shared.places import ROOT
from benchmarks.shared.replay_tasks import (
    MACHINES,
    machine_facts,
    round_context,
    sentiment_shard,
    table,
    task,
    wilson,
    write_results,
)
from deltaproof.protocol.evidence.transcript import serialize_opening
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.drift import DriftSample, judge_drift, noise_steps
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench

MODES = ("exact", "bounded")


@dataclass(frozen=True)
class Size:
    """A model and how much of it a case runs."""

    model: str
    steps: int
    batch: int
    tokens: int


@dataclass(frozen=True)
class ReplayProfile:
    """Sizes by name, and what they are combined with."""

    sizes: dict[str, Size]
    optimizers: tuple[str, ...]
    trainers: tuple[str, ...]
    verifiers: tuple[str, ...]

    def machines(self, phase: str) -> tuple[str, ...]:
        """Those that run the phase `train` or `judge`."""
        return self.trainers if phase == "train" else self.verifiers


PROFILES = {
    "full": ReplayProfile(
        {
            "MiniLM-L6": Size("MiniLM-L6", steps=130, batch=2, tokens=24),
            "MiniLM-L6, batch 16": Size("MiniLM-L6", steps=20, batch=16, tokens=48),
            "SmolLM2-135M": Size("SmolLM2-135M", steps=28, batch=1, tokens=20),
            "SmolLM2-135M, batch 8": Size("SmolLM2-135M", steps=8, batch=8, tokens=24),
        },
        ("adamw", "momentum"),
        tuple(MACHINES),
        tuple(MACHINES),
    ),
    "short": ReplayProfile(
        {"MiniLM-L6, batch 8": Size("MiniLM-L6", steps=3, batch=8, tokens=16)},
        ("adamw",),
        ("SSE4.2",),
        ("default, 1 thread",),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/honest_replays"))
    parser.add_argument("--worker", choices=("train", "judge"), help=argparse.SUPPRESS)
    parser.add_argument("--machine", choices=MACHINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = options.work / options.profile
    if options.worker:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        (train_all if options.worker == "train" else judge_all)(options.profile, options.machine, work)
        return
    started = time.perf_counter()
    turns = [(phase, machine) for phase in ("train", "judge") for machine in PROFILES[options.profile].machines(phase)]
    for phase, machine in turns:
        arguments = ["--profile", options.profile, "--work", str(options.work), "--worker", phase, "--machine", machine]
        subprocess.run(
            [sys.executable, "-m", "benchmarks.replay.honest", *arguments],
            cwd=ROOT,
            env={**os.environ, **MACHINES[machine]},
            check=True,
        )
    report(options.profile, work, time.perf_counter() - started)


def cases(profile: str) -> list[tuple[str, str, str, TaskSpec]]:
    return [
        (
            name, optimizer, mode,
            task(
                size.model, optimizer=optimizer, numeric=mode, rank=2,
                steps=size.steps, batch=size.batch, tokens=size.tokens,
            ),
        )
        for name, size in PROFILES[profile].sizes.items()
        for optimizer, mode in product(PROFILES[profile].optimizers, MODES)
    ]  # fmt: skip


def folder_of(work: Path, *names: str) -> Path:
    return work / "-".join(name.replace(" ", "").replace(",", "_") for name in names)


def train_all(profile: str, machine: str, work: Path) -> None:
    for model, optimizer, mode, spec in cases(profile):
        folder = folder_of(work, model, optimizer, mode, machine)
        if (folder / "round.root").is_file():
            continue
        bench = Workbench.from_spec(spec)
        shard = sentiment_shard(spec.model.kind)
        context = round_context(bench, shard)
        trained = train_round(bench, context, bench.initial_state(), shard, folder / "round", keep_every=1)
        for opening in open_steps(bench, context, shard, folder / "round", range(spec.training.steps)):
            (folder / f"{opening.before.step}.opening").write_bytes(serialize_opening(opening))
        (folder / "theta.digest").write_bytes(trained.theta_digest)
        (folder / "round.root").write_bytes(trained.transcript_root)
        print(f"trained   {model:22} {optimizer:9} {mode:8} on {machine}", flush=True)


def judge_all(profile: str, machine: str, work: Path) -> None:
    for model, optimizer, mode, spec in cases(profile):
        steps, case = spec.training.steps, (model, optimizer, mode)
        trainers = PROFILES[profile].trainers
        wanted = [trainer for trainer in trainers if not verdict_file(work, case, trainer, machine).is_file()]
        if not wanted:
            continue
        judge = Judge.from_spec(spec)
        shard = sentiment_shard(spec.model.kind)
        for trainer in wanted:
            folder = folder_of(work, model, optimizer, mode, trainer)
            context = ReplayContext(
                round_context(judge.reference, shard),
                (folder / "round.root").read_bytes(),
                (folder / "theta.digest").read_bytes(),
            )
            started = time.perf_counter()
            verdicts = []
            thorough = noise_steps(range(steps))  # others go through float64 in doubt only
            for step in range(steps):
                data = (folder / f"{step}.opening").read_bytes()
                verdicts.append(judge.judge_bytes(data, step, context, thorough=step in thorough))
            samples: list[DriftSample] = [verdict.drift for verdict in verdicts if verdict.drift]
            drift = judge_drift(samples, spec.training, judge.reference.layout).as_dict() if samples else None
            result = {
                "model": model,
                "optimizer": optimizer,
                "mode": mode,
                "trainer": trainer,
                "verifier": machine,
                "root": context.transcript_root.hex(),
                "seconds": time.perf_counter() - started,
                "verdicts": [verdict.as_dict() for verdict in verdicts],
                "drift": drift,
            }
            verdict_file(work, case, trainer, machine).write_text(json.dumps(result), "utf-8")
            print(f"judged    {model:22} {optimizer:9} {mode:8} of {trainer} on {machine}", flush=True)


def verdict_file(work: Path, case: tuple[str, str, str], trainer: str, verifier: str) -> Path:
    return folder_of(work, *case, trainer).with_name(folder_of(work, *case, trainer, "by", verifier).name + ".json")


def report(profile: str, work: Path, seconds: float) -> None:
    results = [
        json.loads(verdict_file(work, (model, optimizer, mode), trainer, verifier).read_text("utf-8"))
        for model, optimizer, mode, _ in cases(profile)
        for trainer, verifier in product(PROFILES[profile].trainers, PROFILES[profile].verifiers)
    ]
    rows, total, alarms, drift_alarms, drift_tests = [], 0, 0, 0, 0
    for model, mode, optimizer in product(PROFILES[profile].sizes, MODES, PROFILES[profile].optimizers):
        group = [r for r in results if (r["model"], r["mode"], r["optimizer"]) == (model, mode, optimizer)]
        verdicts = [verdict for result in group for verdict in result["verdicts"]]
        refused = [verdict for verdict in verdicts if not verdict["accepted"]]
        drifts = [result["drift"] for result in group if result["drift"]]
        leaning = [drift for drift in drifts if not drift["accepted"]]
        roots = {(r["trainer"], r["root"]) for r in group}
        total, alarms = total + len(verdicts), alarms + len(refused)
        drift_alarms, drift_tests = drift_alarms + len(leaning), drift_tests + len(drifts)
        worst = max((v["magnitude"] or 0.0) / v["bound"] for v in verdicts if v["accepted"])
        tightest = max((d["magnitude"] for d in drifts), default=None)
        rows.append(
            (
                model, mode, optimizer, len(verdicts), len(refused), len({root for _, root in roots}),
                sum(v["near_ties"] for v in verdicts), f"{worst:.3f}",
                "" if tightest is None else f"{tightest:.3f}", len(leaning) if drifts else "",
            )
        )  # fmt: skip
        for verdict in refused[:5]:
            print("FALSE ALARM", model, mode, optimizer, verdict)
    low, high = wilson(alarms, total)
    trainers, verifiers = PROFILES[profile].trainers, PROFILES[profile].verifiers
    text = "\n".join(
        [
            "# Honest replays",
            "",
            f"{total:,} replays of honest steps, trained as on {'; '.join(trainers)}, judged as on "
            f"{'; '.join(verifiers)}, each with each. LoRA r=2 on real review sentences. "
            f"**False alarms: {alarms}** (95 % interval of the rate: {low:.3%} to {high:.3%}); "
            f"drift tests: {drift_tests}, false alarms {drift_alarms}. Made by `python -m benchmarks.replay.honest`.",
            "",
            table(
                (
                    "model", "mode", "optimiser", "replays", "refused", "distinct transcripts", "near ties",
                    "worst difference / bound", "worst drift / limit", "drift alarms",
                ),
                rows,
            ),
            "",
            "In exact mode one distinct transcript means that all configurations agreed bit for bit. Differences are "
            "those that the verdict was based on: in bounded mode mostly against the verifier's own float32 gradient. "
            "Batches of 8 and 16 rows are replayed in groups of like length, those of 1 and 2 rows in one piece.",
            "",
            f"Machine: {machine_facts()}",
        ]
    )  # fmt: skip
    if profile == "full":
        summary = [{k: v for k, v in r.items() if k not in {"verdicts"}} for r in results]
        document = {
            "machine": machine_facts(), "replays": total, "false_alarms": alarms, "interval": [low, high],
            "drift_tests": drift_tests, "drift_alarms": drift_alarms, "seconds": seconds,
            "rows": rows, "pairs": summary,
        }  # fmt: skip
        write_results("honest_replays", document, text)
    else:
        print(text)
    if alarms or drift_alarms:
        sys.exit(1)


if __name__ == "__main__":
    main()
