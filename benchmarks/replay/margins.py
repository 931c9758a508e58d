"""How far honest differences lie from what rounding explains: what ROUNDING_MARGIN rests on.

    python -m benchmarks.replay.margins [--profile full|short] [--steps N] [--work DIR]

Honest rounds of all `benchmarks.replay.regimes`, trained as on another machine. Every measured step gives two shares,
the largest of the whole gradient and of every tensor: of the bounds without the last try, and of what one rounding of
every operation does (the last try without its margin). Only steps beyond the bounds ever need the margin. Each step is
kept in `--work`, so an interrupted run goes on; the page counts what is there. Results: docs/results/margins.md.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.replay.regimes import Regime, regimes, shard_of, spec_of
from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import MACHINES, machine_facts, round_context, table, write_results
from deltaproof.protocol.evidence.transcript import StepOpening, parse_opening, serialize_opening
from deltaproof.protocol.rules import FLOAT32_UNIT, ROUNDING_MARGIN
from deltaproof.replaying.comparison import compare_bounded, norms_of
from deltaproof.replaying.gradient_check import Recomputation
from deltaproof.replaying.replay import Judge
from deltaproof.tuning.errors import TuningError
from deltaproof.tuning.training.recording import open_steps, train_round
from deltaproof.tuning.training.step import RoundContext
from deltaproof.tuning.training.workbench import Workbench

TRAINER, VERIFIER = "SSE4.2", "default, 1 thread"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("full", "short"), default="full")
    parser.add_argument("--steps", type=int, default=8, help="measured steps of a round, evenly spread")
    parser.add_argument("--work", type=Path, default=Path("runs/margins"))
    parser.add_argument("--report", action="store_true", help="the page of what was measured so far, and no more")
    parser.add_argument("--worker", choices=("train", "measure"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    real, work = options.profile == "full", options.work / options.profile
    if options.worker:
        for name, regime in regimes(real):
            if options.worker == "train":
                train(name, regime, real, work)
            else:
                measure(name, regime, real, work, options.steps)
        return
    for worker, machine in [] if options.report else [("train", TRAINER), ("measure", VERIFIER)]:
        arguments = ["--profile", options.profile, "--work", str(options.work), "--steps", str(options.steps)]
        command = [sys.executable, "-m", "benchmarks.replay.margins", *arguments, "--worker", worker]
        subprocess.run(command, env={**os.environ, **MACHINES[machine]}, check=True)
    rows = [row for name, regime in regimes(real) if (row := summary(name, regime, work))]
    sums = [(length, lanes, chain(length, lanes)) for length in (384, 1536, 4096) for lanes in (4, 16)]
    document = {"machine": machine_facts(), "profile": options.profile, "rows": rows, "sums": sums}
    write_results("margins", document, markdown(rows, sums, options.profile))


def folder_of(work: Path, name: str) -> Path:
    """Where the round of a regime is kept."""
    return work / "rounds" / name.replace(" ", "-").replace(":", "")


def train(name: str, regime: Regime, real: bool, work: Path) -> None:
    folder = folder_of(work, name)

    def recorded() -> dict[str, Any]:
        try:
            bench = Workbench.from_spec(spec_of(regime, real, work))
        except TuningError as error:  # a method that does not fit the model
            return {"skipped": str(error)[:160]}
        shard = shard_of(regime, bench.spec)
        context = round_context(bench, shard)
        train_round(bench, context, bench.initial_state(), shard, folder / "round", keep_every=1)
        for opening in open_steps(bench, context, shard, folder / "round", range(regime.steps)):
            (folder / f"{opening.before.step}.opening").write_bytes(serialize_opening(opening))
        return {"steps": regime.steps}

    cell(folder / "trained", name, recorded)


def measure(name: str, regime: Regime, real: bool, work: Path, count: int) -> None:
    """Both shares of `count` steps; nothing for a regime that was never trained."""
    folder = folder_of(work, name)
    steps = np.unique(np.linspace(0, regime.steps - 1, count).astype(int)).tolist()
    files = {step: folder / f"{step}.opening" for step in steps}
    missing = [step for step in steps if not (folder / "margins" / f"{step}.json").is_file()]
    if not missing or not all(file.is_file() for file in files.values()):
        return
    judge = Judge.from_spec(spec_of(regime, real, work))
    context = round_context(judge.reference, shard_of(regime, judge.spec))
    limits = context.opening_limits(judge.spec, judge.reference.layout.size)
    for step in missing:
        opening = parse_opening(files[step].read_bytes(), limits)
        cell(folder / "margins", str(step), lambda opening=opening: shares(judge, context, opening))  # type: ignore[misc]


def shares(judge: Judge, context: RoundContext, opening: StepOpening) -> dict[str, Any]:
    """The largest difference of a step, in bounds and in roundings, and the tensors where they are."""
    bench, training = judge.reference, judge.spec.training
    state = {slot: torch.from_numpy(np.array(values)) for slot, values in opening.state.items()}
    rows, key = [row.row for row in opening.rows], context.dropout_key(opening.before.step)
    again = Recomputation(bench, judge.mirror, state, rows, key, context.key)
    exact = again.reference.values
    bounded = compare_bounded(opening.gradient, exact, bench.layout, training, again.row_norms)
    difference = norms_of(opening.gradient.astype(np.float64) - exact, bench.layout)
    rounding = again.rounding
    pairs = {name: (difference.tensors[name], rounding.tensors[name]) for name in bench.layout.slices}
    pairs["the whole gradient"] = (difference.whole, rounding.whole)
    roundings = {name: found / drawn if drawn else 0.0 for name, (found, drawn) in pairs.items()}
    where = max(roundings, key=roundings.__getitem__)
    return {
        "bounds": bounded.magnitude / bounded.bound, "tensor": bounded.tensor,
        "roundings": roundings[where], "rounding_tensor": where,
    }  # fmt: skip


def summary(name: str, regime: Regime, work: Path) -> dict[str, Any] | None:
    """Quantiles over the measured steps of a regime."""
    folder = folder_of(work, name) / "margins"
    steps = [step for step in range(regime.steps) if (folder / f"{step}.json").is_file()]
    if not steps:
        return None
    found = [cell(folder, str(step), dict) for step in steps]
    roundings = np.array([step["roundings"] for step in found])
    beyond = [step["roundings"] for step in found if step["bounds"] > 1.0]
    worst = max(found, key=lambda step: step["roundings"])
    return {
        "regime": name, "steps": len(found), "median": float(np.median(roundings)),
        "p95": float(np.quantile(roundings, 0.95)), "largest": float(roundings.max()),
        "tensor": worst["rounding_tensor"],
        "bounds": max(step["bounds"] for step in found), "beyond": len(beyond), "needed": max(beyond, default=0.0),
    }  # fmt: skip


def chain(length: int, lanes: int, trials: int = 1000) -> float:
    """Root mean square error of float32 dot products over that of one random rounding of each result.

    Every lane adds length / lanes products one after the other, as vector units do: a draw rounds the result once.
    """
    generator = np.random.default_rng(length + lanes)
    left, right = generator.standard_normal((2, trials, length // lanes, lanes)).astype(np.float32)
    lane_sums = np.zeros((trials, lanes), np.float32)
    for k in range(length // lanes):
        lane_sums += left[:, k] * right[:, k]
    exact = (left.astype(np.float64) * right).sum(axis=(1, 2))
    error = float(np.linalg.norm(lane_sums.sum(axis=1) - exact))
    return error / (FLOAT32_UNIT / math.sqrt(3.0) * float(np.linalg.norm(exact)))


def markdown(rows: list[dict[str, Any]], sums: list[tuple[int, int, float]], profile: str) -> str:
    total, beyond = sum(row["steps"] for row in rows), sum(row["beyond"] for row in rows)
    needed = max((row["needed"] for row in rows), default=0.0)
    cells = [
        (r["regime"], r["steps"], f"{r['median']:.2f}", f"{r['p95']:.2f}", f"{r['largest']:.2f}", f"`{r['tensor']}`",
         f"{r['bounds']:.3f}", r["beyond"], f"{r['needed']:.2f}" if r["beyond"] else "")
        for r in rows
    ]  # fmt: skip
    command = f"python -m benchmarks.replay.margins{'' if profile == 'full' else ' --profile ' + profile}"
    most_like = max(found / math.sqrt(length / lanes) for length, lanes, found in sums)
    most = f": there the largest difference was {needed:.2f} roundings" if beyond else ", so none needed the margin"
    return "\n\n".join(
        [
            "# What the margin of rounding rests on",
            f"{total:,} honest steps in {len(rows)} regimes, bounded mode, trained as on {TRAINER}, measured as on "
            f"{VERIFIER}. A *rounding* is what one random rounding of every operation does to the whole gradient or to "
            "a tensor. A step that is beyond the bounds of its spec is honest up to "
            f"`ROUNDING_MARGIN` = {ROUNDING_MARGIN:g} of them. {beyond} steps were beyond{most}. "
            f"Made by `{command}`.",
            table(
                ("regime", "steps", "roundings: median", "95 %", "largest", "where", "largest / bound",
                 "beyond the bound", "margin they need"),
                cells,
            ),
            "## Why so many",
            "A draw rounds each result once, but a kernel rounds at every addition inside. The error of n additions in "
            "a row grows with the square root of n. Dot products of random float32 numbers, without blocking:",
            table(
                ("length", "lanes", "additions in a row", "roundings", "over the root of the additions"),
                [(length, lanes, length // lanes, f"{found:.2f}", f"{found / math.sqrt(length / lanes):.2f}")
                 for length, lanes, found in sums],
            ),
            f"With {most_like:.2f} times the root, a margin of {ROUNDING_MARGIN:g} stands for "
            f"{(ROUNDING_MARGIN / most_like) ** 2:,.0f} additions in a row in every operation. Roundings that lean the "
            "same way grow faster than the root; how far is not measured here.",
            f"Machine: {machine_facts()}",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
