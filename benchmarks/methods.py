"""Quality against bytes of every delta-tuning method on real tasks, one trainer, one round, with its replay verdict.

    python benchmarks/methods.py [--tasks NAME ...] [--methods NAME ...] [--steps 24] [--seeds 1] [--peft]

Bounded mode, float32, one thread. A cell is a method on a task with a seed: held-out accuracy, trained values, bytes of
the uncoded delta, seconds of training, and the verdict of replaying the first and last step on a float64 judge.
Peak memory is that of the process, of which each cell has its own. `--peft` also trains the same peft model by torch's
own Adam on the same batches. Cells are kept in benchmarks/results/methods.json; a later run goes on from there. Writes
docs/results/methods.md and docs/results/methods.svg.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tuning_tasks import ROOT, TASKS, Cells, Data

from deltaproof.recommend import CANDIDATES, candidate_spec
from protocol.rows import Shard
from protocol.spec import TaskSpec
from protocol.state import component_root
from protocol.types import Digest32
from tuning.data import make_batch
from tuning.errors import MethodError
from tuning.evaluation import Evaluator
from tuning.loss import loss_sum
from tuning.methods import METHODS
from tuning.methods.base import PeftMethod
from tuning.replay import Judge, ReplayContext
from tuning.step import RoundContext
from tuning.training import batch_rows, open_steps, train_round
from tuning.workbench import Workbench

RESULTS = ROOT / "benchmarks" / "results" / "methods.json"
BATCH, TRAIN, TEST = 8, 400, 120


def spec_of(data: Data, method: str, steps: int, seed: int) -> TaskSpec:
    spec = candidate_spec(method, data.source, data.kind, data.model, steps, BATCH)
    return spec.model_copy(update={"method": spec.method.model_copy(update={"seed": bytes([seed]) * 32})})


def measure(task: str, method: str, steps: int, seed: int) -> dict[str, Any]:
    """One cell."""
    torch.set_num_threads(1)
    data = TASKS[task](task, TRAIN, TEST)
    spec = spec_of(data, method, steps, seed)
    try:
        bench = Workbench.from_spec(spec)
    except MethodError as error:
        return {"refused": str(error)}
    shard, start = Shard(data.train, Digest32(bytes(32))), bench.initial_state()
    context = RoundContext(
        0, 1, bytes(20), bytes([seed]) * 32, shard.root, len(shard.rows), component_root(start)
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        trained = train_round(bench, context, start, shard, Path(folder) / "round")
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        openings = list(open_steps(bench, context, shard, Path(folder) / "round", [0, steps - 1]))
    judge = Judge.from_spec(spec)
    known = ReplayContext(context, trained.transcript_root, trained.theta_digest)
    verdicts = [judge.judge_step(opening, opening.before.step, known) for opening in openings]
    evaluator = Evaluator(bench, data.test)
    before, after = evaluator.evaluate(start), evaluator.evaluate(trained.theta)
    return {
        "accuracy": after.accuracy,
        "start_accuracy": before.accuracy,
        "loss": after.loss,
        "values": bench.layout.size,
        "bytes": 4 * bench.layout.size,
        "cpu_seconds": seconds,
        "peak_mib": peak,
        "replay": "accepted"
        if all(v.accepted for v in verdicts)
        else next(v.message for v in verdicts if not v.accepted),
    }


def measure_peft(task: str, method: str, steps: int, seed: int) -> dict[str, Any]:
    """The same peft model and batches, trained by `torch.optim.Adam`."""
    torch.set_num_threads(1)
    data = TASKS[task](task, TRAIN, TEST)
    if not issubclass(METHODS[method], PeftMethod):
        return {"refused": "peft does not have it"}
    try:
        bench = Workbench.from_spec(spec_of(data, method, steps, seed))
    except MethodError as error:
        return {"refused": str(error)}
    shard = Shard(data.train, Digest32(bytes(32)))
    context = RoundContext(
        0, 1, bytes(20), bytes([seed]) * 32, shard.root, len(shard.rows), bytes(32)
    )  # fmt: skip
    rate = bench.spec.optimizer.learning_rate
    optimizer = torch.optim.Adam(bench.parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1.0 - t / steps)
    for step in range(steps):
        rows = [row for _, row in batch_rows(bench, context, shard, step)]
        config = getattr(bench.model, "config", None)
        batch = make_batch(rows, bench.spec.model, tokenizer=bench.tokenizer, config=config, parts=1)
        optimizer.zero_grad()
        (loss_sum(bench.model, batch.parts[0], bench.spec.model.kind) / batch.count).backward()
        optimizer.step()
        schedule.step()
    named = dict(bench.model.named_parameters())
    theta = np.concatenate([named[name].detach().numpy().reshape(-1) for name in bench.layout.names])
    found = Evaluator(bench, data.test).evaluate(theta)
    return {"accuracy": found.accuracy, "loss": found.loss}


def in_own_process(*arguments: str) -> dict[str, Any]:
    """A cell measured by a fresh process, so that its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--cell", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="*", default=list(CANDIDATES), choices=list(CANDIDATES))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--peft", action="store_true")
    parser.add_argument("--cell", nargs=5, metavar=("KIND", "TASK", "METHOD", "STEPS", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        kind, task, method, steps, seed = options.cell
        print(json.dumps((measure_peft if kind == "peft" else measure)(task, method, int(steps), int(seed))))
        return
    cells = Cells(RESULTS)
    for seed in range(options.seeds):
        for task in options.tasks:
            for method in options.methods:
                for kind in ("ours", "peft") if options.peft else ("ours",):
                    arguments = (kind, task, method, str(options.steps), str(seed))
                    cells.measure(" / ".join(arguments), lambda a=arguments: in_own_process(*a))
    write(cells)


def write(cells: Cells) -> None:
    by_method: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    plain: dict[str, dict[str, Any]] = {}
    for key, cell in sorted(cells.values.items()):
        kind, task, method, steps, seed = key.split(" / ")
        if "refused" in cell:
            continue
        if kind == "peft":
            plain[" / ".join((task, method, steps, seed))] = cell
        else:
            by_method[method].append((" / ".join((task, method, steps, seed)), cell))
    lines = [
        "# Delta-tuning methods: quality against bytes",
        "",
        "Measured by `benchmarks/methods.py`: one trainer, one round; accuracy on 120 held-out rows a task (standard",
        "error about four points a cell). Cells so far; a later run adds to them.",
        "",
        "| method | cells | accuracy | same by plain peft | values | bytes a round | CPU s | MiB | replays passed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    points = []
    for method, found in by_method.items():
        both = [(cell["accuracy"], plain[key]["accuracy"]) for key, cell in found if key in plain]
        beside = (
            f"{np.mean([p for _, p in both]):.3f} (ours there {np.mean([o for o, _ in both]):.3f})" if both else "-"
        )
        mean = {name: float(np.mean([cell[name] for _, cell in found])) for name in
                ("accuracy", "values", "bytes", "cpu_seconds", "peak_mib")}  # fmt: skip
        accepted = sum(cell["replay"] == "accepted" for _, cell in found)
        points.append((method, mean["bytes"], mean["accuracy"]))
        lines.append(
            f"| {method} | {len(found)} | {mean['accuracy']:.3f} | {beside} | {mean['values']:.0f} | "
            f"{mean['bytes']:.0f} | {mean['cpu_seconds']:.1f} | {mean['peak_mib']:.0f} | {accepted} of {len(found)} |"
        )
    tasks = sorted({key.split(" / ")[0] for found in by_method.values() for key, _ in found})
    lines += ["", f"Tasks: {', '.join(tasks)}.", "", "![quality against bytes](methods.svg)"]
    folder = ROOT / "docs" / "results"
    (folder / "methods.md").write_text("\n".join(lines) + "\n")
    (folder / "methods.svg").write_text(_plot(points))


def _plot(points: list[tuple[str, float, float]]) -> str:
    """Accuracy over bytes (logarithmic), as SVG."""
    logs = [float(np.log10(size)) for _, size, _ in points]
    qualities = [quality for _, _, quality in points]
    low, high = (min(logs) - 0.2, max(logs) + 0.5) if points else (0.0, 1.0)
    bottom, top = (min(qualities) - 0.02, max(qualities) + 0.02) if points else (0.0, 1.0)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 420" font-family="sans-serif" font-size="11">',
        '<rect width="720" height="420" fill="white"/>',
        '<path d="M60 20V370H700" fill="none" stroke="#444"/>',
        '<text x="380" y="410" text-anchor="middle">bytes of a delta (log scale)</text>',
        '<text x="16" y="195" transform="rotate(-90 16 195)" text-anchor="middle">held-out accuracy</text>',
    ]
    for (name, size, quality), log in zip(points, logs, strict=True):
        x, y = 60 + 640 * (log - low) / (high - low), 370 - 350 * (quality - bottom) / (top - bottom)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#2563eb"/>')
        parts.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}">{name} {quality:.3f}, {size / 1000:.0f} kB</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
