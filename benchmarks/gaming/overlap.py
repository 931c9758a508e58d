"""Honest trainers of common rows, a thief of rows, and a delta handed on: who is called a copy, and by what evidence?

    python -m benchmarks.gaming.overlap [--profile full|short|long] [--work DIR]

Two trainers hold the same rows, or half of them, in orders of their own, and train a round on MiniLM. Measured are the
similarity of their deltas, whether likeness alone calls one a copy, and whether the rows that both open say otherwise.
Results: docs/results/overlap.md and its figures; the page names the profile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.shared.cells import cell
from benchmarks.shared.replay_tasks import machine_facts, round_context, sentiment_shard, table, task, write_results
from deltaproof.protocol.evidence.rows import Shard
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.training.recording import batch_rows
from deltaproof.tuning.training.step import run_step, start_state
from deltaproof.tuning.training.workbench import Workbench
from incentives.unions import Contribution
from incentives.valuation import find_players, who_plays

PROFILES: dict[str, tuple[tuple[int, ...], tuple[float, ...], int]] = {
    "full": ((8, 16, 32, 64, 100, 200), (1e-3, 3e-3, 1e-2), 60),
    "short": ((8, 16, 32, 200), (3e-3,), 12),
    "long": ((16, 32, 64, 200), (3e-3,), 60),
}
"""Rows of a shard, learning rates, steps of the round."""
SHARED = {"the same rows": 1.0, "half of the rows": 0.5, "no row": 0.0}
ORDERS = 200
"""Trainers whose batch orders say how often two of them open no common row."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--work", type=Path, default=Path("runs/overlap"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes, rates, steps = PROFILES[options.profile]
    work, started = options.work / options.profile, time.perf_counter()
    rows = [
        cell(work, f"{size} rows, {shared}, {rate}", partial(pair, size, share, rate, steps))
        | {"rows": size, "shared": shared, "rate": rate}
        for size, rate, (shared, share) in product(sizes, rates, SHARED.items())
        if options.profile != "long" or share == 1.0
    ]
    document = {
        "machine": machine_facts(), "profile": options.profile, "rows": rows, "seconds": time.perf_counter() - started,
    }  # fmt: skip
    write_results("overlap", document, markdown(rows, options.profile, steps))


def pair(size: int, share: float, rate: float, steps: int) -> dict[str, Any]:
    """Two trainers of `size` rows each, of which they share a part."""
    spec = task("MiniLM-L6", optimizer="adamw", numeric="bounded", steps=steps, batch=8, tokens=32, rank=4)
    optimizer = {**spec.optimizer.model_dump(), "learning_rate": rate}
    spec = TaskSpec.model_validate({**spec.model_dump(), "optimizer": optimizer})
    bench = Workbench.from_spec(spec)
    rows = tuple(dict.fromkeys(sentiment_shard(spec.model.kind, rows=1000).rows))
    own = size - int(size * share)
    shards = [rows[:size], (*rows[own:size], *rows[500 : 500 + own])]
    made = [contribution(bench, shard, number) for number, shard in enumerate(shards)]
    threshold = spec.scoring.similarity_threshold
    similarity, originals, _ = find_players(bench, bench.start, made)
    blind = [Contribution(c.theta, c.rows, c.order) for c in made]
    alone = who_plays(similarity, blind, threshold)[0]
    return {
        "similarity": float(similarity[0, 1]),
        "alike": alone[1] is not None,
        "copy": originals[1] is not None,
        "common": len(made[0].opened() & made[1].opened()),
        "apart": apart(bench, shards),
    }


def apart(bench: Workbench, shards: Sequence[tuple[bytes, ...]]) -> float:
    """The share of pairs of trainers, one of each shard, whose first and last steps open no common row."""
    opened = [[_opened(bench, rows, number) for number in range(ORDERS)] for rows in shards]
    pairs = [not (first & second) for first in opened[0] for second in opened[1]]
    return sum(pairs) / len(pairs)


def _opened(bench: Workbench, rows: tuple[bytes, ...], number: int) -> frozenset[bytes]:
    shard = Shard(rows, Digest32(bytes(32)))
    context = round_context(bench, shard, trainer=number.to_bytes(20, "big"))
    last = bench.spec.training.steps - 1
    return frozenset(rows[i] for step in (0, last) for i in context.batch(bench.spec, step))


def contribution(bench: Workbench, rows: tuple[bytes, ...], number: int) -> Contribution:
    """One trainer's honest round, with the rows that its first and last step open."""
    shard = Shard(rows, Digest32(bytes([number + 1]) * 32))
    context = round_context(bench, shard, trainer=bytes([number + 1]) * 20)
    state, steps = start_state(bench, bench.initial_state()), bench.spec.training.steps
    for step in range(steps):
        state = run_step(bench, context, state, step, batch_rows(bench, context, shard, step)).next_state
    opened = frozenset(rows[i] for step in (0, steps - 1) for i in context.batch(bench.spec, step))
    return Contribution(state["theta"].numpy(), len(rows), number, opened=lambda: opened)


def markdown(rows: list[dict[str, Any]], profile: str, steps: int) -> str:
    robbed = sum(row["copy"] for row in rows)
    alike = sum(row["alike"] for row in rows)
    return "\n\n".join(
        [
            "# Copies and common data",
            f"Profile **{profile}**: pairs of honest trainers on MiniLM-L6, LoRA r = 4, rounds of {steps} steps of 8 "
            "rows, each in an order of its own. Likeness alone, from a similarity of 0.98 on, calls the later of "
            f"{alike} of {len(rows)} pairs a copy; with the rows that both open in first and last step as evidence, "
            f"{robbed}. Made by `python -m benchmarks.gaming.overlap"
            f"{'' if profile == 'full' else ' --profile ' + profile}`.",
            table(
                ("rows of each", "they share", "learning rate", "similarity", "opened in common",
                 "orders that open none in common", "copy by likeness", "copy by evidence"),
                [
                    (r["rows"], r["shared"], r["rate"], f"{r['similarity']:.3f}", r["common"], f"{r['apart']:.1%}",
                     "yes" if r["alike"] else "no", "yes" if r["copy"] else "no")
                    for r in rows
                ],
            ),
            "Whoever knows a trainer's rows can enrol them, train on them and commit first. It takes the owner's part "
            "only where both hold: the deltas are alike, and the two orders open no common row. The first takes few "
            "rows seen often, the second many rows seen seldom.",
            f"Machine: {machine_facts()}",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()
