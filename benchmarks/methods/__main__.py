"""Every delta-tuning method on real tasks: quality against bytes, time, memory, replay verdict, and peft without us.

    python -m benchmarks.methods [--tasks NAME ...] [--methods NAME ...] [--seeds 3]
        [--device auto|cpu|cuda] [--report]

One trainer, one round, bounded mode, float32, one thread. A cell is a method on a task with a seed. Each task has one
process; each method's peak memory is measured in a process of its own (benchmarks/methods/memory.py). Cells are kept
below build/benchmarks/methods/, so a run that was stopped goes on, elsewhere from the published figures; the first seed
of all tasks comes before the second. A cell counts as long as the task has the rows that it was measured on, and the
method its rate: after a new search of rates (benchmarks/methods/rates.py) what has another rate now is measured anew.
On a GPU, where there is one, cells have its name and no seconds: time and memory are compared on a CPU alone.
`--report` only writes docs/results/methods.{md,json,svg} from what is there. Rounds of equal time and several rounds of
a federation are measured by benchmarks/methods/equal_time.py and rounds.py.

`full` on the 23 M values of MiniLM commits 360 MB a step: it is recorded and replayed on one task and trained by the
plain loop on the others. On SmolLM2 it is left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.methods.cells import METHODS, REPLAYED, family, our_cell, task_data, untouched_cell
from benchmarks.methods.memory import KINDS, memory_cell
from benchmarks.methods.plain_loop import PLAIN, STARTED, plain_cell
from benchmarks.methods.rates import rate_of
from benchmarks.methods.report import write_report
from benchmarks.methods.results import SAME_START, UNTOUCHED, Key, adopt, kind_of, standing
from benchmarks.shared.places import BUILD
from benchmarks.shared.tuning_tasks import TASKS, Cells, is_here
from deltaproof.errors import UsageError
from deltaproof.tuning.numerics.machine import pick_device

FOLDER = BUILD / "methods"
COMPARED = (
    "tweets",
    "imdb",
    "movies",
    "rotated digits",
    "odd digits",
    "noisy digits",
    "prime digits",
    "transposed digits",
)
"""Tasks on which peft's methods are also trained without us, from draws of their own. From the start of our rounds they
are on all."""
RECORDED_FULL = "tweets"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--methods", nargs="*", default=[*METHODS, "head"], choices=[*METHODS, "head"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N; auto (the default): a GPU if there is one")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--only", nargs=2, metavar=("TASK", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        device = pick_device(options.device)
    except UsageError as error:
        parser.error(str(error))
    if options.only:
        measure_task(options.only[0], int(options.only[1]), options.methods, device)
        return
    adopt(FOLDER)
    if not options.report:
        for seed in range(options.seeds):
            for task in filter(is_here, options.tasks):
                in_own_process(task, seed, options.methods, device)
            if not seed:
                measure_memory(options.methods)
    write_report(FOLDER)


def measure_task(task: str, seed: int, methods: list[str], device: str = "cpu") -> None:
    """All cells of a task with one seed; those of other rows, or of a rate that is no longer chosen, are dropped."""
    data, cells = task_data(task), Cells(FOLDER / f"{task.replace(' ', '-')}.json")
    cells.values = standing(task, cells.values, data.split)
    cells.measure(Key(UNTOUCHED, UNTOUCHED, seed).text(), lambda: untouched_cell(data, seed, device))
    for key in wanted(task, seed, methods):
        rate = rate_of(family(data.source), key.method)
        if key.kind == "ours":
            replay = seed == 0 and replayed(task, key.method)
            run = partial(our_cell, data, key.method, rate, seed, replay=replay, device=device)
            cells.measure(key.text(), run)
        elif "refused" not in cells.values.get(Key("ours", key.method, seed).text(), {}):
            same = key.kind == SAME_START
            run = partial(plain_cell, data, key.method, rate, seed, same_start=same, device=device)
            cells.measure(key.text(), run)


def wanted(task: str, seed: int, methods: list[str]) -> Iterator[Key]:
    """What is measured on a task with a seed: recorded rounds, then the plain loop, then what takes minutes."""
    kind = kind_of(task)
    heavy = () if kind == "digits" else ("full",)
    left_out = (*heavy, "head") if kind == "language" else ()
    methods = [method for method in methods if method not in left_out]
    for method in methods:
        if method not in (*heavy, "head"):
            yield Key("ours", method, seed)
    for method in methods:
        if method in PLAIN and (task in COMPARED or method in (*heavy, "head")):
            yield Key("plain", method, seed)
        if method in STARTED and kind != "language":
            yield Key(SAME_START, method, seed)
    for method in heavy:
        if method in methods and task == RECORDED_FULL and seed == 0:
            yield Key("ours", method, seed)


def replayed(task: str, method: str) -> bool:
    """Whether the first seed's round is judged. Float64 SmolLM2 takes a GiB: some methods only."""
    return task in REPLAYED or task.endswith("digits") or (task.endswith("language") and method in KINDS["language"])


def measure_memory(methods: list[str]) -> None:
    """Peak memory of each method on each kind of model."""
    cells = Cells(FOLDER / "memory.json")
    for kind, measured in KINDS.items():
        for method in ("bare", *(m for m in measured if m in methods)):
            cells.measure(f"{kind} / {method}", lambda k=kind, m=method: memory_cell(k, m))


def in_own_process(task: str, seed: int, methods: list[str], device: str) -> None:
    command = [sys.executable, "-m", "benchmarks.methods", "--only", task, str(seed), "--device", device]
    subprocess.run([*command, "--methods", *methods], check=True)


if __name__ == "__main__":
    main()
