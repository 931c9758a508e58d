"""Payout rule and optimiser steps in Python and in Solidity, at random; writes docs/results/differential.md.

    python -m benchmarks.chain.differential [--cases 100000] [--seed 1]

Both sides get the same numbers; every payout must be equal, and every float32 equal bit for bit (any NaN for a NaN).
Edges come often: ties, zeros, extreme scores, subnormals, overflow. Leaves with status 1 at the first difference.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from benchmarks.chain.differential.cases import payout_batch, step_batch
from benchmarks.chain.differential.harness import Harness
from benchmarks.chain.gas.bench import Bench, anvil
from benchmarks.shared.places import FIGURES, PAGES

BATCH = 100


def main() -> int:
    """Compare, then write figures and page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain.differential")
    parser.add_argument("--cases", type=int, default=100_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with anvil() as url:
        harness = Harness(Bench(url))
        figures = {
            name: compare(batch, harness, options.cases, options.seed)
            for name, batch in (("payout rule", payout_batch), ("optimiser step", step_batch))
        }
    results = {"seed": options.seed, "kinds": figures}
    (FIGURES / "differential.json").write_text(json.dumps(results, indent=1) + "\n")
    (PAGES / "differential.md").write_text(page(figures, options.seed))
    print(page(figures, options.seed))
    return 0


def compare(batch: Callable[..., Counter[str]], harness: Harness, cases: int, seed: int) -> dict[str, object]:
    """So many cases of a kind, and how often each edge came. Raises AssertionError at a difference."""
    random, seen, started = np.random.default_rng(seed), Counter[str](), time.monotonic()
    for _ in range(-(-cases // BATCH)):
        seen += batch(random, harness, BATCH)
    return {"cases": seen.pop("cases"), "seconds": round(time.monotonic() - started, 1), "edges": dict(seen)}


def page(figures: dict[str, dict[str, object]], seed: int) -> str:
    """The page of the figures."""
    rows = [f"| {name} | {row['cases']:,} | 0 | {row['seconds']} |" for name, row in figures.items()]
    edges = [
        f"| {name} | {edge} | {count:,} |"
        for name, row in figures.items()
        for edge, count in sorted(row["edges"].items())  # type: ignore[attr-defined]
    ]
    return "\n".join(
        [
            "# Python and Solidity side by side",
            "",
            f"`python -m benchmarks.chain.differential --seed {seed}` gives both sides the same random numbers: the",
            "payout rule (`incentives/payouts.py`, `libraries/PayoutRule.sol`) and a step of the optimiser",
            "(`deltaproof/tuning/training/optimizers.py`, `libraries/OptimizerStep.sol`). Payouts are equal to the",
            "unit, floats bit for bit. It ends at the first difference.",
            "",
            "| rule | cases | differences | seconds |",
            "|---|--:|--:|--:|",
            *rows,
            "",
            "How often the edges came:",
            "",
            "| rule | edge | cases |",
            "|---|---|--:|",
            *edges,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
