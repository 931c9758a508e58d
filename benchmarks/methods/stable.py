"""Whether rounding decides how a round ends at the chosen rates: what `task check` would say of each.

    python -m benchmarks.methods.stable [--kinds digits text language]

A dev task's round is played twice, once with every gradient value moved by a rounding; where the ends lie apart by a
hundredth of training's way or more, half of the rate follows, a quarter, an eighth, until they do not. Runs after
`python -m benchmarks.methods.rates` and writes docs/results/data/method_rate_stability.json. `full` and `head`, whose
rounds nobody replays here, have no place in it.
"""

from __future__ import annotations

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.methods.cells import METHODS, spec_of, task_data
from benchmarks.methods.rates import DEV_TASKS, dev_task, is_chosen, rate_of
from benchmarks.shared.places import FIGURES
from benchmarks.shared.tuning_tasks import OF, Cells
from deltaproof.sponsor.stability import DECIDES, looked_at
from deltaproof.tuning.training.workbench import Workbench

__all__ = ["PLAYED", "Looks", "decides", "looks"]

Looks = dict[str, list[dict[str, Any]]]
"""What was looked at, the chosen rate first, by method."""
PLAYED = FIGURES / "method_rate_stability.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(DEV_TASKS), choices=list(DEV_TASKS))
    cells = Cells(PLAYED)
    for kind in parser.parse_args().kinds:
        for method in METHODS:
            if method != "full" and is_chosen(kind, method):
                cells.measure(f"{kind} / {method}", partial(_cell, kind, method), _of(kind, method))


def _cell(kind: str, method: str) -> dict[str, Any]:
    data = task_data(dev_task(kind, method))
    bench = Workbench.from_spec(spec_of(data, method, rate_of(kind, method), 0))
    return {"looks": [look.record() for look in looked_at(bench, bench.initial_state(), data.train, math.inf)]}


def looks(played: Path = PLAYED) -> dict[str, Looks]:
    """Of each kind of model and method, what was looked at from the rate that is chosen now on."""
    found: dict[str, Looks] = {kind: {} for kind in DEV_TASKS}
    for key, cell in json.loads(played.read_text()).items() if played.is_file() else ():
        kind, method = key.split(" / ")
        if cell[OF] == _of(kind, method):
            found[kind][method] = cell["looks"]
    return found


def decides(look: dict[str, Any]) -> bool:
    """Whether rounding decides how a round ends, or training diverges."""
    return look["moved"] is None or look["moved"] >= DECIDES


def _of(kind: str, method: str) -> str:
    return f"{rate_of(kind, method):g}"


if __name__ == "__main__":
    main()
