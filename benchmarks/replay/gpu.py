"""Across devices: train on a GPU and verify on the CPU, and the reverse, in both modes. Runs unattended.

    python -m benchmarks.replay.gpu [--steps N] [--models MODEL ...]

Writes docs/results/replay_gpu.md and its figures: false alarms, near ties, worst differences, drift, times, and
whether optimiser steps and dropout masks have the same bits on both devices. Without a CUDA device it measures the CPU
alone, and the page lists what is unmeasured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared.replay_tasks import (
    MODELS,
    machine_facts,
    round_context,
    sentiment_shard,
    table,
    task,
    write_results,
)
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.drift import judge_drift
from deltaproof.replaying.replay import Judge, ReplayContext
from deltaproof.tuning.numerics.randomness import CounterDropout
from deltaproof.tuning.training.optimizers import constants_of, constants_table, optimizer_id, slots_of, update
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
UNMEASURED = [
    "steps trained on a GPU and replayed on a CPU, and the reverse, in both modes",
    "steps trained and replayed on GPUs of different make",
    "whether optimiser steps and dropout masks have the same bits on a GPU as on a CPU",
    "what a step and a replay cost on a GPU",
]
"""What a machine without a GPU cannot tell."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options = parser.parse_args()
    steps, models = options.steps, options.models
    both = len(DEVICES) > 1
    facts: dict[str, Any] = {
        "machine": machine_facts(),
        "command": f"python -m benchmarks.replay.gpu --steps {steps} --models {' '.join(models)}",
        "unmeasured": [] if both else UNMEASURED,
        "optimizer_bits_equal": {name: optimizer_bits(name) for name in OPTIMIZERS} if both else None,
        "dropout_masks_equal": dropout_masks() if both else None,
        "pairs": [
            pair
            for model, numeric in product(models, ("exact", "bounded"))
            for pair in cross_device(model, numeric, steps if model == "MiniLM-L6" else max(4, steps // 4))
        ],
    }
    write_results("replay_gpu", facts, markdown(facts))


def optimizer_bits(name: str) -> bool:
    """Twenty steps of a million values, subnormal and huge ones among them, on both devices."""
    spec = task("MiniLM-L6", optimizer=name, numeric="exact", steps=20, batch=1, tokens=8, rank=2)
    constants = constants_table(spec.optimizer, 20)
    generator = np.random.default_rng(0)
    scale = 10.0 ** generator.uniform(-40, 10, 1 << 20)
    gradients = [(generator.standard_normal(1 << 20) * scale).astype(np.float32) for _ in range(3)]
    start = torch.from_numpy(generator.standard_normal(1 << 20).astype(np.float32))
    finals = []
    for device in DEVICES:
        state = {
            s: start.to(device) if s == "theta" else torch.zeros_like(start, device=device)
            for s in slots_of(spec.optimizer)
        }
        for step in range(20):
            gradient = torch.from_numpy(gradients[step % 3]).to(device)
            state = update(optimizer_id(spec.optimizer), constants_of(constants, step), state, gradient, 0.5)
        finals.append({slot: values.cpu().view(torch.int32) for slot, values in state.items()})
    return all(torch.equal(finals[0][slot], finals[1][slot]) for slot in finals[0])


def dropout_masks() -> bool:
    kept = []
    for device in DEVICES:
        with CounterDropout(b"key"):
            kept.append(torch.nn.functional.dropout(torch.ones(64, 384, device=device), 0.1).cpu())
    return torch.equal(*kept)


def cross_device(model: str, numeric: str, steps: int) -> list[dict[str, Any]]:
    spec = task(model, optimizer="adamw", numeric=numeric, steps=steps, batch=4, tokens=32, rank=4)
    return across(model, spec, sentiment_shard(spec.model.kind))


def across(model: str, spec: TaskSpec, shard: Shard) -> list[dict[str, Any]]:
    """Every step of a round trained on each device, and replayed on each."""
    numeric, steps = spec.training.numeric, spec.training.steps
    benches = {device: Workbench.from_spec(spec, device) for device in DEVICES}
    judges = {device: Judge.from_spec(spec, device) for device in DEVICES}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for device, bench in benches.items():
            context = round_context(bench, shard)
            begun = time.perf_counter()
            trained = train_round(bench, context, bench.initial_state(), shard, Path(folder) / device, keep_every=1)
            seconds = (time.perf_counter() - begun) / steps
            openings = list(open_steps(bench, context, shard, Path(folder) / device, range(steps)))
            replay = ReplayContext(context, trained.transcript_root, trained.theta_digest)
            for verifier, judge in judges.items():
                begun = time.perf_counter()
                verdicts = [judge.judge_step(opening, t, replay) for t, opening in enumerate(openings)]
                samples = [verdict.drift for verdict in verdicts if verdict.drift]
                drift = judge_drift(samples, spec.training, bench.layout) if samples else None
                results.append(
                    {
                        "model": model, "mode": numeric, "form": spec.model.frozen_dtype, "trainer": device,
                        "verifier": verifier, "replays": steps,
                        "false_alarms": sum(not v.accepted for v in verdicts),
                        "messages": [v.message for v in verdicts if not v.accepted][:3],
                        "near_ties": sum(v.near_ties for v in verdicts),
                        "worst": max((v.magnitude / v.bound for v in verdicts if v.bound), default=0.0),
                        "drift": drift.as_dict() if drift else None, "transcript": trained.transcript_root.hex(),
                        "seconds_per_step": seconds, "seconds_per_replay": (time.perf_counter() - begun) / steps,
                    }
                )  # fmt: skip
    return results


def markdown(facts: dict[str, Any]) -> str:
    rows = [
        (
            p["model"], p["mode"], p["trainer"], p["verifier"], p["replays"], p["false_alarms"], p["near_ties"],
            f"{p['worst']:.3f}", "" if p["drift"] is None else ("fine" if p["drift"]["accepted"] else "ALARM"),
            p["transcript"][:8],
            *(() if facts["unmeasured"] else (f"{p['seconds_per_step']:.3f}", f"{p['seconds_per_replay']:.3f}")),
        )
        for p in facts["pairs"]
    ]  # fmt: skip
    header = (
        "model", "mode", "trained on", "verified on", "replays", "false alarms", "near ties", "worst / bound", "drift",
        "transcript", *(() if facts["unmeasured"] else ("s a step", "s a replay")),
    )  # fmt: skip
    if facts["unmeasured"]:
        told = (
            "**This machine has no GPU.** The table is of the CPU alone; what that costs is in "
            "[replay cost](replay_cost.md). Unmeasured:\n\n" + "\n".join(f"- {what}" for what in facts["unmeasured"])
        )
    else:
        told = (
            f"Optimiser steps bit-identical on both devices: {facts['optimizer_bits_equal']}; dropout masks equal: "
            f"{facts['dropout_masks_equal']}."
        )
    return "\n".join(
        [
            "# Replays across devices",
            "",
            f"Made by `{facts['command']}`.",
            "",
            told,
            "",
            table(header, rows),
            "",
            f"Machine: {facts['machine']}",
        ]
    )


if __name__ == "__main__":
    main()
