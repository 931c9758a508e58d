"""Learning rates of `python -m benchmarks.methods`: of a few a method, the best on a dev task's held-out loss.

    python -m benchmarks.methods.rates [--kinds digits text language]

Every method gets the same search: three rates, each four times the one before, and as long as the best is the lowest or
the highest of those tried, the next one beyond it, to five at most. No result is reported on the dev tasks.
Writes docs/results/data/method_rates.json, and every trial to method_rate_trials.json beside it.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from functools import cache
from typing import Any

from benchmarks.methods.cells import METHODS, dev_cell, task_data
from benchmarks.methods.plain_loop import plain_cell
from benchmarks.shared.places import FIGURES
from benchmarks.shared.rate_search import coarse_search
from benchmarks.shared.tuning_tasks import Cells, Data
from deltaproof.sponsor.recommend import CANDIDATES
from deltaproof.tuning.errors import DivergenceError

__all__ = ["DEV_ROWS", "FACTORS", "FUSION_DEV_TASKS", "TRIED", "dev_task", "is_chosen", "rate_of"]

RATES = FIGURES / "method_rates.json"
TRIED = FIGURES / "method_rate_trials.json"
BASE = {name: rate for name, (_, rate) in CANDIDATES.items()} | {"fusion": 1e-3, "head": 4e-3}
FACTORS = {"text": (0.25, 1.0, 4.0), "digits": (1.0, 4.0, 16.0), "language": (0.0625, 0.25, 1.0)}
"""Of the default rate, what is tried first. Rounds on text are longer."""
DEV_ROWS = 100
DEV_TASKS = {"text": "products", "digits": "mirrored digits", "language": "news language"}
FUSION_DEV_TASKS = {"text": "product word order", "digits": "turned digits", "language": "amazon language"}
"""For `fusion`, whose adapters know the other dev tasks."""


@cache
def _rates() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(RATES.read_text())
    return found


def rate_of(kind: str, method: str) -> float:
    """The chosen rate of a method on a kind of model."""
    return _rates().get(kind, {}).get(method, BASE[method])


def is_chosen(kind: str, method: str) -> bool:
    """Whether the rate was searched for."""
    return method in _rates().get(kind, {})


def dev_task(kind: str, method: str) -> str:
    """On which a method's rate is judged: one that nothing in it was trained on."""
    return (FUSION_DEV_TASKS if method == "fusion" else DEV_TASKS)[kind]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(DEV_TASKS), choices=list(DEV_TASKS))
    cells, chosen = Cells(TRIED), dict(_rates())
    for kind in parser.parse_args().kinds:
        chosen[kind] = {}
        for method in (*METHODS, "head"):
            if kind == "language" and method in ("full", "head"):
                continue  # too large to train whole, and there is no head
            best = _best(cells, kind, method, _dev_data(dev_task(kind, method)))
            if best is not None:
                chosen[kind][method] = best
            RATES.write_text(json.dumps(chosen, indent=1, sort_keys=True) + "\n")


def _best(cells: Cells, kind: str, method: str, data: Data) -> float | None:
    """The tried rate with the lowest loss; None where the method does not fit the model."""

    def trial(rate: float) -> dict[str, Any]:
        return cells.measure(f"{kind} / {method} / {rate:g}", lambda: _cell(data, kind, method, rate), data.split)

    rates = [BASE[method] * factor for factor in FACTORS[kind]]
    if "refused" in trial(rates[0]):
        return None
    losses = coarse_search(rates, lambda rate: float(trial(rate)["loss"]))
    return min(losses, key=losses.__getitem__)


@cache
def _dev_data(task: str) -> Data:
    data = task_data(task)
    return replace(data, test=data.test[:DEV_ROWS])


def _cell(data: Data, kind: str, method: str, rate: float) -> dict[str, Any]:
    plain = method == "head" or (method == "full" and kind == "text")  # whose transcript would cost minutes
    try:
        return plain_cell(data, method, rate, 0) if plain else dev_cell(data, method, rate)
    except DivergenceError:
        return {"loss": math.inf}


if __name__ == "__main__":
    main()
