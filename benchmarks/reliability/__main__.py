"""Faults of every kind around running roles, and what they cost honest people.

    python -m benchmarks.reliability                     every kind: writes docs/results/reliability.md and its figures
    python -m benchmarks.reliability --profile short     one cell of each kind: prints the table, writes nothing
    python -m benchmarks.reliability --kind SIGKILL      only this kind; may be given several times
    python -m benchmarks.reliability --page              plays nothing, writes the page from the cells that there are

A *cell* is a task of two trainers and three verifiers on a private chain with a tiny model. The roles run as they do
for a user, on threads or as `deltaproof` commands; each has a node and a store of its own that fail on request. Faults
of the cell's kind come one after the other until the task has ended: what, whom and how long is drawn from the cell's
seed, when it strikes depends on the machine. Finished cells are kept in build/benchmarks/reliability; remove the folder
to play them anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
from collections.abc import Sequence
from typing import Any

from benchmarks.reliability.of_chain import CHAIN
from benchmarks.reliability.of_machine import MACHINE
from benchmarks.reliability.of_mixtures import MIXTURES
from benchmarks.reliability.of_network import NETWORK
from benchmarks.reliability.of_people import PEOPLE
from benchmarks.reliability.of_processes import PROCESSES
from benchmarks.reliability.page import page
from benchmarks.reliability.playing import play
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD, FIGURES, PAGES

KINDS = [*NETWORK, *CHAIN, *MACHINE, *PROCESSES, *PEOPLE, *MIXTURES]
CELLS = BUILD / "reliability"
PROFILES = {"short": (1, 1), "full": (2, 1), "long": (5, 3)}
"""Seeds of each kind, and rounds of a cell; some kinds have several times as many."""


def played(kinds: Sequence[str], seeds: int, rounds: int) -> list[dict[str, Any]]:
    """Every cell, from the folder where it was played before; seeds in the outer loop, so that all kinds come early."""
    cells = []
    for seed in range(seeds):
        for kind in KINDS:
            if not kinds or kind.name in kinds:
                length = rounds * kind.rounds_factor
                name = f"{kind.name} {seed} {length}"
                found = cell(CELLS, name, lambda k=kind, s=seed, n=length: dataclasses.asdict(play(k, s, n)))
                cells.append(found)
    return cells


def kept() -> list[dict[str, Any]]:
    """Every finished cell of the folder."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(CELLS.glob("*.json"))]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability")
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--kind", action="append", default=[], choices=[kind.name for kind in KINDS])
    parser.add_argument("--seeds", type=int, help="instead of the profile's")
    parser.add_argument("--page", action="store_true", help="write the page from finished cells, playing none")
    options = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    seeds, rounds = PROFILES[options.profile]
    cells = kept() if options.page else played(options.kind, options.seeds or seeds, rounds)
    text = page(KINDS, cells)
    if options.page or (options.profile != "short" and not options.kind):
        (FIGURES / "reliability.json").write_text(json.dumps({"cells": cells}, indent=1) + "\n")
        (PAGES / "reliability.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
