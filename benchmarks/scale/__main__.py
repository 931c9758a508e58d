"""What a round costs by the number of its trainers.

    python -m benchmarks.scale [--chain N ...] [--work N ...] [--real N[xV[cC]] ...] [--folder DIR]

Three parts: a round on real contracts with simulated training, what is computed once a round, and rounds that are
really trained and replayed, by V verifiers, C of them for each trainer. Cells are kept, so an interrupted run goes on;
the page is made of all that are there. Results: docs/results/scale.md.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.scale.chain import round_on_chain
from benchmarks.scale.page import write_page
from benchmarks.scale.real import VERIFIERS, real_round
from benchmarks.scale.work import work_of_a_round
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD

PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "chain": round_on_chain,
    "work": work_of_a_round,
    "real": real_round,
}
SIZES = {
    "chain": ("10", "100", "1000", "4000"),
    "work": ("10", "100", "1000", "4000", "10000"),
    "real": (f"5x{VERIFIERS}", f"20x{VERIFIERS}", f"100x{VERIFIERS}", "100x12", "100x12c4"),
}


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part, sizes in SIZES.items():
        parser.add_argument(f"--{part}", nargs="*", default=sizes, metavar="NxVcC" if part == "real" else "N")
    parser.add_argument("--folder", type=Path, default=BUILD / "scale")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part, measure in PARTS.items():
        for size in getattr(options, part):
            cell(options.folder, f"{part} {size}", partial(measure, *map(int, re.split("[xc]", size))))
    write_page(options.folder)


if __name__ == "__main__":
    main()
