"""Bytes of everything that a trainer publishes, against quality after every round, on every text task.

    python -m benchmarks.codecs [--seeds 0 1 2] [--arms NAME ...] [--tasks NAME ...] [--report]

MiniLM, three trainers with 200 rows each, four rounds of 12 steps, at the rates of `python -m benchmarks.codecs.rates`.
Cells are kept in docs/results/data/codecs.json, and a later run goes on from there: all tasks with the first seed, then
the next seed. Writes docs/results/codecs.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from benchmarks.codecs.arms import ARMS
from benchmarks.codecs.cells import play, rows_of
from benchmarks.codecs.rates import LOOKED, TRIALS, rate_of
from benchmarks.codecs.report import write
from benchmarks.codecs.results import Key, standing, text_tasks
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.tuning_tasks import Cells, is_here


def main() -> None:
    tasks = [task for task in text_tasks() if is_here(task)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--tasks", nargs="*", choices=tasks, default=tasks)
    parser.add_argument("--report", action="store_true", help="write the page from the cells that there are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells, trials = Cells(FIGURES / "codecs.json"), Cells(TRIALS)
    rates = {name: rate_of(name, trials) for name in options.arms}
    for seed in [] if options.report else options.seeds:
        for task in options.tasks:
            data = rows_of(task)
            for name, rate in rates.items():
                key = Key(task, name, seed, rate, data.split)
                cells.measure(key.text(), partial(play, data, ARMS[name], rate, seed), ARMS[name].digest)
    page(cells, trials, rates, PAGES / "codecs.md")


def page(cells: Cells, trials: Cells, rates: Mapping[str, float], path: Path) -> None:
    """Write the page, from cells that stand."""
    rows = {task: rows_of(task) for task in text_tasks() if is_here(task)}
    values = standing(cells.values, {task: data.split for task, data in rows.items()})
    write(values, trials.values, Cells(LOOKED).values, rates, path)


if __name__ == "__main__":
    main()
