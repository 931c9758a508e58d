"""Bytes of a delta against quality over federated rounds, error feedback on and off.

    python -m benchmarks.codecs [--rounds 4] [--seeds 0 1 2] [--codecs NAME ...] [--feedback on|off|both]

The demo's task: LoRA of rank 8 on MiniLM (or --method), three trainers, 12 steps a round; the demo has three rounds.
Every round is kept under build/ and every cell in docs/results/data/codecs.json; a later run goes on from there.
Writes docs/results/codecs.md. Published beside it: 99 % of gradient exchange saved by dropping (Aji and Heafield
2017), 146 times by SparseLoCo's top-k with 2-bit values (Sarfi et al. 2025), 5 times by 1-bit Adam (Tang et al. 2021).
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch

from benchmarks.codecs.cells import METHODS, Cell, Members
from benchmarks.codecs.report import write
from benchmarks.shared.places import FIGURES, PAGES
from benchmarks.shared.tuning_tasks import Cells

CODECS: dict[str, dict[str, Any]] = {
    "float32": {},
    "low_rank|two_bit": {"numbers": 9800, "rank": 2, "keep_norm": False},
    "low_rank|two_bit kept": {"numbers": 9800, "rank": 1, "keep_norm": True},
    "top_k|two_bit 3%": {"fraction": 0.03},
    "int4": {},
    "sign": {},
    "dropout|int8": {"fraction": 0.5},
    "low_rank|two_bit 146x": {"numbers": 7400, "rank": 2, "keep_norm": False},
    "top_k|two_bit 1%": {"fraction": 0.01},
    "int8": {},
    "two_bit": {},
    "dorefa": {"bits": 2},
    "top_k": {"fraction": 0.01},
    "threshold|int8": {"threshold": 3.0},
    "float16": {},
    "bfloat16": {},
}
COMPARED = ("float32", "low_rank|two_bit", "top_k|two_bit 3%", "int4", "sign", "dropout|int8")
LOSSY = ("low_rank", "top_k", "threshold", "sign", "two_bit", "dorefa")
"""Parts that are shown with error feedback and without."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--test", type=int, default=100, help="held-out rows of each source")
    parser.add_argument("--method", choices=list(METHODS), default="lora")
    parser.add_argument("--codecs", nargs="*", choices=list(CODECS), default=list(COMPARED))
    parser.add_argument("--feedback", choices=["on", "off", "both"], default="both")
    parser.add_argument("--only-rounds", action="store_true", help="fill build/ and write no result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    federation = Members.of(options.test)
    cells = Cells(FIGURES / "codecs.json")
    for seed in options.seeds:
        for name in options.codecs:
            for feedback in _feedbacks(name, options.feedback):
                chosen = dict(CODECS[name]) | ({} if feedback == "-" else {"error_feedback": feedback == "on"})
                codec = {"name": name.split(maxsplit=1)[0], "options": chosen}
                cell = Cell(federation, options.method, codec, options.steps, seed)
                what = name if options.method == "lora" else f"{name} of {options.method}"
                key = f"{what} / feedback {feedback} / {options.rounds} x {options.steps} / seed {seed}"
                if options.only_rounds:
                    print(key, cell.measure(options.rounds)["rounds"][-1]["accuracy"], flush=True)
                else:
                    cells.measure(key, partial(cell.measure, options.rounds))
    if not options.only_rounds:
        write(cells.values, PAGES / "codecs.md")


def _feedbacks(name: str, wanted: str) -> tuple[str, ...]:
    if not any(part in name for part in LOSSY):
        return ("-",)
    return ("on", "off") if wanted == "both" else (wanted,)


if __name__ == "__main__":
    main()
