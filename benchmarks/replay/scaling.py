"""Replays by one process, by worker processes and by a local Ray cluster, side by side in one run.

    python -m benchmarks.replay.scaling [--replays N] [--device D]

Real model and rows; every arrangement judges the same openings, and has to find the same verdicts. Writes
docs/results/replay_scaling.md. Workers compute with one thread each, as the single process does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.replay_tasks import machine_facts, round_context, sentiment_shard, table, task, write_results
from deltaproof.replaying.judges import Judges, ReplayJob
from deltaproof.replaying.replay import ReplayContext
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench

MODEL = "MiniLM-L6"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replays", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = measure(options.replays, options.device)
    write_results("replay_scaling", facts, markdown(facts))


def arrangements(device: str) -> dict[str, Machine]:
    return {
        "one process": Machine(device),
        "1 worker": Machine(device, 1, "processes"),
        "2 workers": Machine(device, 2, "processes"),
        "2 Ray actors": Machine(device, 2, "ray"),
    }


def measure(replays: int, device: str) -> dict[str, Any]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    spec = task(MODEL, optimizer="adamw", numeric="exact", steps=replays, batch=16, tokens=64, rank=8)
    bench = Workbench.from_spec(spec, device)
    shard = sentiment_shard(spec.model.kind, rows=400)
    context = round_context(bench, shard)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trained = train_round(bench, context, bench.initial_state(), shard, Path(folder))
        replay = ReplayContext(context, trained.transcript_root, trained.theta_digest)
        openings = open_steps(bench, context, shard, Path(folder), range(replays))
        jobs = [ReplayJob(replay, opening.before.step, opening) for opening in openings]
    verdicts = set()
    for name, machine in arrangements(device).items():
        judges = Judges(spec, machine)
        began = time.perf_counter()
        found = [verdict for _, verdict in judges.judged(jobs[: 2 * machine.workers])]  # the model is loaded
        started = time.perf_counter()
        found += [verdict for _, verdict in judges.judged(jobs[2 * machine.workers :])]
        seconds = time.perf_counter() - started
        judges.close()
        verdicts.add(tuple((v.step, v.accepted, v.magnitude) for v in found))
        rows[name] = {"start_seconds": started - began, "replays_a_second": (replays - 2 * machine.workers) / seconds}
    ray.shutdown()
    return {"machine": machine_facts(), "replays": replays, "same_verdicts": len(verdicts) == 1, "arrangements": rows}


def markdown(facts: dict[str, Any]) -> str:
    plain = facts["arrangements"]["one process"]["replays_a_second"]
    rows = [
        [
            name,
            f"{row['start_seconds']:.1f}",
            f"{row['replays_a_second']:.2f}",
            f"{row['replays_a_second'] / plain:.2f}",
        ]
        for name, row in facts["arrangements"].items()
    ]
    same = (
        "All found the same verdicts, to the last bit of what they measured."
        if facts["same_verdicts"]
        else ("**They did not find the same verdicts.**")
    )
    return "\n".join(
        [
            "# Replays beside each other",
            "",
            f"{MODEL}, LoRA r=8, AdamW, batch 16, exact mode; {facts['replays']} openings of one round, judged by each "
            "arrangement in one run, one thread a worker. Made by `python -m benchmarks.replay.scaling`.",
            "",
            table(["arrangement", "seconds to the first answers", "replays a second", "against one process"], rows),
            "",
            f"{same} Workers hold the model once more each, and load it before their first answer.",
            "",
            f"Machine: {facts['machine']}",
            "",
        ]
    )


if __name__ == "__main__":
    main()
