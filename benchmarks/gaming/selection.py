"""What a trainer of k names gains who reveals only the best of k rounds: today, and if validation were shown before.

    python -m benchmarks.gaming.selection [--names K] [--steps N] [--work DIR]

Each name trains MiniLM on the same rows in the order that is drawn for it. When reveals close, the validation set is
not yet shown. So the trainer can choose by rows of its own only, which nobody trained on. Measured is the validation
loss of the name it would choose so, of the best one, which it could only choose if it saw the validation set first, and
of the mean name. Every name that is not revealed costs a bond and its pay. Cells are kept in `--work`.
Results: docs/results/selection.md and its figures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import machine_facts, round_context, sentiment_shard, table, task, write_results
from deltaproof.protocol.evidence.rows import PUBLIC_SALTS, Shard, distinct_rows
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import run_step, start_state
from deltaproof.tuning.training.workbench import Workbench

ROWS, OWN, VALIDATION = 200, 100, 200
"""Rows of the shard, rows that the trainer keeps back to choose by, rows of the validation set."""
RATES = (3e-3, 1e-2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--work", type=Path, default=Path("runs/selection"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = []
    for rate in RATES:
        names = [
            cell(options.work, f"{rate}, {options.steps}, {name}", partial(losses, rate, options.steps, name))
            for name in range(options.names)
        ]
        found.append({"rate": rate, "names": names})
    document = {"machine": machine_facts(), "steps": options.steps, "found": found,
                "seconds": time.perf_counter() - started}  # fmt: skip
    write_results("selection", document, markdown(found, options.steps))


def losses(rate: float, steps: int, name: int) -> dict[str, float]:
    """Loss of one name's adapter on the trainer's own rows and on the validation set, and those of the start."""
    spec = task("MiniLM-L6", optimizer="adamw", numeric="bounded", steps=steps, batch=8, tokens=32, rank=4)
    optimizer = {**spec.optimizer.model_dump(), "learning_rate": rate}
    bench = Workbench.from_spec(TaskSpec.model_validate({**spec.model_dump(), "optimizer": optimizer}))
    rows = distinct_rows(sentiment_shard(spec.model.kind, rows=1000).rows)
    shard = Shard(rows[:ROWS], PUBLIC_SALTS)
    context = round_context(bench, shard, trainer=bytes([name + 1]) * 20)
    state = start_state(bench, bench.initial_state())
    for step in range(steps):
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    own = Evaluator(bench, rows[ROWS : ROWS + OWN])
    validation = Evaluator(bench, rows[ROWS + OWN : ROWS + OWN + VALIDATION])
    reached = state["theta"].numpy()
    return {
        "own": own.evaluate(reached).loss, "validation": validation.evaluate(reached).loss,
        "start": validation.evaluate(bench.initial_state()).loss,
    }  # fmt: skip


def chosen(names: Sequence[dict[str, float]], count: int) -> dict[str, float]:
    """Mean over all choices of `count` names: gains in nats against the mean name, of the blind and the seeing choice.

    `bonds` is the bond, as a share of a name's pay, from which the blind choice does not pay even if the names that
    are not revealed would have earned nothing.
    """
    mean = statistics.fmean(name["validation"] for name in names)
    groups = list(combinations(names, count))
    blind = mean - statistics.fmean(min(group, key=lambda name: name["own"])["validation"] for group in groups)
    seeing = mean - statistics.fmean(min(name["validation"] for name in group) for group in groups)
    improvement = names[0]["start"] - mean
    return {"count": count, "blind": blind, "seeing": seeing, "improvement": improvement,
            "share": blind / improvement, "seeing_share": seeing / improvement,
            "bonds": blind / improvement / (count - 1)}  # fmt: skip


def markdown(found: Sequence[dict[str, Any]], steps: int) -> str:
    cells = []
    for part in found:
        names = part["names"]
        for count in sorted({count for count in (2, 3, 5, len(names)) if 2 <= count <= len(names)}):
            got = chosen(names, count)
            cells.append(
                (part["rate"], count, f"{got['improvement']:.4f}", f"{got['blind']:+.4f}", f"{got['share']:+.1%}",
                 f"{got['seeing']:+.4f}", f"{got['seeing_share']:+.1%}", f"{max(got['bonds'], 0.0):.1%}")
            )  # fmt: skip
    header = ("learning rate", "names", "a mean name improves by", "chosen by own rows", "of a name's pay",
              "chosen by validation", "of a name's pay", "bond from which it does not pay")  # fmt: skip
    return "\n\n".join(
        [
            "# Keeping the best of several names",
            f"MiniLM-L6, LoRA r = 4, {ROWS} review sentences, {steps} steps of 8 rows; every name trains the same rows "
            f"in an order of its own. The trainer keeps {OWN} further rows to choose by; validation has {VALIDATION}. "
            "Gains are nats of validation loss against the mean name, and the share of its improvement, which pay "
            "follows. Averaged over all choices of so many names. Made by `python -m benchmarks.gaming.selection`.",
            "The validation set is shown when reveals have closed ([rounds](../protocol/rounds.md)). So *chosen by "
            "validation* is what an earlier order of phases allowed, and *chosen by own rows* is what is left. A name "
            "that commits and is not revealed loses its bond (`verification.commit_bond`) and its pay. The last column "
            "counts the bond alone, as if those names would have earned nothing.",
            table(header, cells),
            f"Machine: {machine_facts()}",
        ]
    )


if __name__ == "__main__":
    main()
