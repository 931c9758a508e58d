"""Learning rates of `python -m benchmarks.codecs`: for every arm the same recorded search on a dev task.

    python -m benchmarks.codecs.rates [--arms NAME ...] [--look]

A rate is judged by its held-out loss on the dev task, in nats, the mean after rounds 2 to 4: of what the page compares,
on rows that it does not report. Writes every trial to docs/results/data/codec_rate_trials.json. `--look` measures
instead what arms were chosen from, into codec_looks.json beside it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.codecs.arms import ARMS
from benchmarks.codecs.cells import ROUNDS, play, rows_of
from benchmarks.codecs.looks import LOOKS
from benchmarks.shared.places import FIGURES
from benchmarks.shared.rate_search import best_rate
from benchmarks.shared.tuning_tasks import Cells

__all__ = ["DEV_TASK", "FIRST_COMPARED", "LOOKED", "TRIALS", "judged", "rate_of"]

TRIALS = FIGURES / "codec_rate_trials.json"
LOOKED = FIGURES / "codec_looks.json"
DEV_TASK = "products"
FIRST_COMPARED = 2
"""Round 1 finds the classification head: there is no accuracy to lose yet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--look", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.look:
        looked = Cells(LOOKED)
        for task, looks in LOOKS.items():
            for name, (arm, rates) in looks.items():
                for rate in rates:
                    looked.measure(f"{task} / {name} / {rate:g}", partial(play, rows_of(task), arm, rate, 0))
        return
    trials = Cells(TRIALS)
    for name in options.arms:
        print(name, rate_of(name, trials), flush=True)


def rate_of(name: str, trials: Cells) -> float:
    """The best rate of an arm; trials that are missing are run."""

    data = rows_of(DEV_TASK)
    of = f"{ARMS[name].digest} {data.split}"

    def loss(rate: float) -> float:
        return judged(trials.measure(f"{name} / {rate:g}", lambda: play(data, ARMS[name], rate, 0), of))

    return best_rate(ARMS[name].base, loss)


def judged(cell: Mapping[str, Any]) -> float:
    """Mean held-out loss of the compared rounds, nats; infinite where training diverged."""
    rounds = cell["rounds"]
    return float(np.mean([r["loss"] for r in rounds[FIRST_COMPARED - 1 :]])) if len(rounds) == ROUNDS else math.inf


if __name__ == "__main__":
    main()
