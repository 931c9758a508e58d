"""Seconds until a command that needs no model has answered, in this tree and, side by side, in another.

    python -m benchmarks.startup [--against FOLDER] [--runs 7]

`FOLDER` is a checkout with compiled contracts, such as one of an earlier version. Runs of both trees alternate, each in
a fresh process. Told are medians of the wall time, and the least processor time of a run, which other work on the
machine does not change much. `python -c "import typer"` shows what the library of the command line costs alone.
Writes docs/results/startup.md and docs/results/data/startup.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.shared.places import FIGURES, PAGES, ROOT

SHELL = {"_DELTAPROOF_COMPLETE": "complete_bash", "COMP_WORDS": "deltaproof task list --", "COMP_CWORD": "3"}
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "--version": (["--version"], {}),
    "--help": (["--help"], {}),
    "task list --help": (["task", "list", "--help"], {}),
    "trainer run --help": (["trainer", "run", "--help"], {}),
    "schema task show": (["schema", "task", "show"], {}),
    "task list, an option is missing": (["task", "list"], {}),
    "completion of task list --": ([], SHELL),
    "import deltaproof": (["-c", "import deltaproof"], {}),
    "import typer": (["-c", "import typer"], {}),
}


def seconds(tree: Path, arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor time of one process, from start to end."""
    program = arguments if arguments[:1] == ["-c"] else ["-m", "deltaproof", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DELTAPROOF_")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    finished = subprocess.run(
        [sys.executable, *program], cwd=tree, capture_output=True, env=clean | {"PYTHONPATH": str(tree)} | environment,
        check=False,
    )  # fmt: skip
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if finished.returncode not in {0, 2}:
        raise SystemExit(f"{program} in {tree}: {finished.stderr.decode()[-2000:]}")
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    trees = {"here": ROOT, **({"there": asked.against.resolve()} if asked.against else {})}
    taken: dict[str, dict[str, list[tuple[float, float]]]] = {name: {tree: [] for tree in trees} for name in COMMANDS}
    for _ in range(asked.runs):
        for name, (arguments, environment) in COMMANDS.items():
            for tree, place in trees.items():
                taken[name][tree].append(seconds(place, arguments, environment))
    told = {
        name: {
            tree: {"wall": statistics.median(wall for wall, _ in runs), "processor": min(busy for _, busy in runs)}
            for tree, runs in by.items()
        }
        for name, by in taken.items()
    }
    columns = [f"{tree}, {kind} s" for tree in trees for kind in ("wall", "processor")]
    lines = ["| command | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name, by in told.items():
        cells = [f"{by[tree][kind]:.2f}" for tree in trees for kind in ("wall", "processor")]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    print("\n".join(lines))
    versus = " *There* is the tree before help needed none of the libraries that do the work." if asked.against else ""
    page = f"""# Start of a command

`python -m benchmarks.startup{" --against FOLDER" if asked.against else ""}`

Of a whole process, {asked.runs} runs on {os.cpu_count()} cores, with a load of {load:.0f} before: the median of the
wall time, and the least processor time, which is what an idle core takes.{versus} A command that works on a task loads
more: the chain's library (about a second) and, where a model is needed, torch. Of what is left most is typer's and
rich's own: they load pydantic, a parser of Markdown and a highlighter of code, whatever the command.

{chr(10).join(lines)}
"""
    (PAGES / "startup.md").write_text(page, encoding="utf-8")
    figures = {"runs": asked.runs, "cores": os.cpu_count(), "load": round(load, 1), "seconds": told}
    (FIGURES / "startup.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
