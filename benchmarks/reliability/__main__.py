"""Faults of every kind around running roles, and what they cost honest people.

    python -m benchmarks.reliability                     every kind: writes docs/results/reliability.md and its figures
    python -m benchmarks.reliability --profile short     one cell of each kind: prints the table, writes nothing
    python -m benchmarks.reliability --kind SIGKILL      only this kind; may be given several times
    python -m benchmarks.reliability --soak 120          roles as commands for so many minutes, with kills
    python -m benchmarks.reliability --page              plays nothing, writes the page from what there is

A *cell* is a task of two trainers and three verifiers on a private chain with a tiny model. The roles run as they do
for a user, on threads or as `deltaproof` commands; each has a node and a store of its own that fail on request. Faults
of the cell's kind come one after the other until the task has ended: what, whom and how long is drawn from the cell's
seed, when it strikes depends on the machine. Finished cells are kept in build/benchmarks/reliability; remove the folder
to play them anew. The page has these, and of what was not played anew the cells of the last page. A soak that is
interrupted leaves what it saw until then.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import signal
from collections.abc import Sequence
from typing import Any

from benchmarks.reliability.of_chain import CHAIN
from benchmarks.reliability.of_machine import MACHINE
from benchmarks.reliability.of_mixtures import MIXTURES
from benchmarks.reliability.of_network import NETWORK
from benchmarks.reliability.of_people import PEOPLE
from benchmarks.reliability.of_processes import PROCESSES
from benchmarks.reliability.page import page, soak_lines
from benchmarks.reliability.playing import play
from benchmarks.reliability.soaking import Soaked, soak
from benchmarks.shared.cells import cell
from benchmarks.shared.places import BUILD, FIGURES, PAGES

KINDS = [*NETWORK, *CHAIN, *MACHINE, *PROCESSES, *PEOPLE, *MIXTURES]
CELLS = BUILD / "reliability"
SOAKS = BUILD / "reliability-soaks"
OLD = FIGURES / "reliability.json"
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
    """Every finished cell of the folder, and those of the last page that were not played since."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(CELLS.glob("*.json"))]
    places = {(cell["kind"], cell["seed"]) for cell in found}
    before = json.loads(OLD.read_text("utf-8"))["cells"] if OLD.is_file() else []
    return found + [cell for cell in before if (cell["kind"], cell["seed"]) not in places]


def soaked(minutes: float, seed: int) -> None:
    """Soak, and keep what was seen, the same seed's last in its place."""
    kind = next(kind for kind in MIXTURES if kind.processes)

    def save(found: Soaked) -> None:
        SOAKS.mkdir(parents=True, exist_ok=True)
        partial = SOAKS / f"{seed}.partial"
        partial.write_text(json.dumps(dataclasses.asdict(found)) + "\n")
        partial.replace(SOAKS / f"{seed}.json")

    soak(kind, minutes, seed, save)


def soaks() -> list[dict[str, Any]]:
    """Those of the folder, else those of the last page."""
    if found := [json.loads(path.read_text("utf-8")) for path in sorted(SOAKS.glob("*.json"))]:
        return found
    kept_before: list[dict[str, Any]] = json.loads(OLD.read_text("utf-8")).get("soaks", []) if OLD.is_file() else []
    return kept_before


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability")
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--kind", action="append", default=[], choices=[kind.name for kind in KINDS])
    parser.add_argument("--seeds", type=int, help="instead of the profile's")
    parser.add_argument("--page", action="store_true", help="write the page from finished cells, playing none")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="play commands with kills for so long")
    options = parser.parse_args()
    # Who is asked to end leaves no node and no role behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    seeds, rounds = PROFILES[options.profile]
    if options.soak:
        soaked(options.soak, options.seeds or 0)
        print("\n".join(soak_lines(soaks())))
        return
    cells = kept() if options.page else played(options.kind, options.seeds or seeds, rounds)
    text = page(KINDS, cells, soaks())
    if options.page or (options.profile != "short" and not options.kind):
        OLD.write_text(json.dumps({"cells": cells, "soaks": soaks()}, indent=1) + "\n")
        (PAGES / "reliability.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
