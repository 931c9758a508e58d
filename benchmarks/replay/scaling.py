"""Replays by one process, by worker processes and by a local Ray cluster of two nodes, side by side in one run.

    python -m benchmarks.replay.scaling [--replays N] [--device D]

Real model and rows; every arrangement judges the same openings, and has to find the same verdicts. In the last one a
node of the cluster is killed while it judges, and none takes its place. Writes docs/results/replay_scaling.md. Workers
compute with one thread each, as the single process does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.replay_tasks import machine_facts, round_context, sentiment_shard, table, task, write_results
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.replaying.judges import Judges, ReplayJob
from deltaproof.replaying.replay import ReplayContext, StepVerdict
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.workbench import Workbench

MODEL = "MiniLM-L6"
KILLED_AFTER = 1 / 4
"""Of the replays that are timed."""
EARLIER = (
    "An earlier run, on 2026-11-28 with 40 replays, disturbed less (its load is not recorded): one process judged 1.62 "
    "a second, two workers 1.84 times and two Ray actors of one node 1.85 times as many."
)
"""What this page said before its cluster had nodes."""
KILLED = "2 Ray nodes, one killed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replays", type=int, default=48)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = measure(options.replays, options.device)
    write_results("replay_scaling", facts, markdown(facts))


def measure(replays: int, device: str) -> dict[str, Any]:
    from ray.cluster_utils import Cluster

    spec, jobs = recorded(replays, device)
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 1 << 28}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=1 << 28) for _ in range(2)]
        on_ray = Machine(device, 2, "ray", cluster.address)
        arrangements: dict[str, tuple[Machine, Callable[[], None] | None]] = {
            "one process": (Machine(device), None),
            "1 worker": (Machine(device, 1, "processes"), None),
            "2 workers": (Machine(device, 2, "processes"), None),
            "2 Ray nodes": (on_ray, None),
            KILLED: (on_ray, lambda: cluster.remove_node(nodes[0], allow_graceful=False)),
        }
        rows, verdicts = {}, set()
        for name, (machine, accident) in arrangements.items():
            rows[name], found = judged(spec, machine, jobs, accident)
            verdicts.add(tuple((v.step, v.accepted, v.magnitude) for v in found))
    finally:
        cluster.shutdown()
    return {
        "machine": machine_facts(), "load": os.getloadavg()[1], "replays": replays, "same_verdicts": len(verdicts) == 1,
        "arrangements": rows,
    }  # fmt: skip


def recorded(replays: int, device: str) -> tuple[TaskSpec, list[ReplayJob]]:
    spec = task(MODEL, optimizer="adamw", numeric="exact", steps=replays, batch=16, tokens=64, rank=8)
    bench = Workbench.from_spec(spec, device)
    shard = sentiment_shard(spec.model.kind, rows=400)
    context = round_context(bench, shard)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_round(bench, context, bench.initial_state(), shard, Path(folder))
        replay = ReplayContext(context, trained.transcript_root, trained.theta_digest)
        openings = open_steps(bench, context, shard, Path(folder), range(replays))
        return spec, [ReplayJob(replay, opening.before.step, opening) for opening in openings]


def judged(
    spec: TaskSpec, machine: Machine, jobs: list[ReplayJob], accident: Callable[[], None] | None
) -> tuple[dict[str, float], list[StepVerdict]]:
    """Seconds to the first answers of loaded models, replays a second after that, and the longest wait for one."""
    judges, first = Judges(spec, machine), 2 * machine.workers
    began = time.perf_counter()
    found = [verdict for _, verdict in judges.judged(jobs[:first])]
    started = last = time.perf_counter()
    answers, longest = judges.judged(jobs[first:]), 0.0
    for number, (_, verdict) in enumerate(answers):
        now = time.perf_counter()
        last, longest = now, max(longest, now - last)
        found.append(verdict)
        if accident and number == int(KILLED_AFTER * (len(jobs) - first)):
            accident()
    seconds = time.perf_counter() - started
    judges.close()
    rate = (len(jobs) - first) / seconds
    return {"start_seconds": started - began, "replays_a_second": rate, "longest_wait": longest}, found


def markdown(facts: dict[str, Any]) -> str:
    plain = facts["arrangements"]["one process"]["replays_a_second"]
    rows = [
        [
            name,
            f"{row['start_seconds']:.1f}",
            f"{row['replays_a_second']:.2f}",
            f"{row['replays_a_second'] / plain:.2f}",
            f"{row['longest_wait']:.1f}",
        ]
        for name, row in facts["arrangements"].items()
    ]
    header = [
        "arrangement", "seconds to the first answers", "replays a second", "against one process", "longest wait, s",
    ]  # fmt: skip
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
            "arrangement in one run, one thread a worker. Made by `python -m benchmarks.replay.scaling "
            f"--replays {facts['replays']}`.",
            "",
            table(header, rows),
            "",
            f"{same} Workers hold the model once more each, and load it before their first answer.",
            "",
            "The Ray cluster has a head without workers and two nodes of one CPU each, on this one machine: node "
            "processes, not machines, so nothing is known of a network. In the last row one node is killed after a "
            "quarter of the replays, and none takes its place: what it had is judged by the other, which then is "
            "alone. The longest wait shows how long answers, which come in order, stood still.",
            "",
            f"The machine has two cores and did other work meanwhile (a load of {facts['load']:.1f} over five "
            f"minutes): rows compare arrangements roughly at best, those of two workers least. {EARLIER}",
            "",
            f"Machine: {facts['machine']}",
            "",
        ]
    )


if __name__ == "__main__":
    main()
