"""Every lie about a round that the models' fields allow, and the audit that finds it.

    python -m benchmarks.attacks.tampering [--print] [--new]

Plays two small histories on Anvil: one whole, one whose round stands in its dispute window, in bounded mode, with a
trainer that leans inside the bound. Then each field of each message is altered once for each who could lie about it: by
one verifier, by a quorum that seals, composes and signs the lie consistently, by sponsor, trainer, store and node. Each
lie is audited without a model, by default, with `--rescore` and with `--full`, until a check fails. The families are
those of the test suite (tests/auditor/tampering). Results: docs/results/tampering.md and data/tampering.json.

`--new` tells the lies that the table lacks, drops those that cannot be told any more, and keeps the others as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.shared.places import FIGURES
from benchmarks.shared.replay_tasks import machine_facts, write_results
from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.session import open_index
from deltaproof.chain.local_node import start_node
from tests.auditor.colluding import Collusion
from tests.auditor.conftest import play_contested
from tests.auditor.tampering.everything import every_lie
from tests.auditor.tampering.kinds import Cell, Kind, Level, Lie
from tests.worlds.roles import RoleWorld, build_world

TABLE = FIGURES / "tampering.json"
MEANING = {
    Level.EVENTS: "events, calldata, artifacts and the blocks' proofs; no model is loaded",
    Level.WITNESS: "a bundle against an endpoint that its maker does not run",
    Level.DEFAULT: "the events and artifacts, the adapters before and after each round evaluated, deltas compared and "
    "aggregated, rejections judged again (and one drawn step of each round replayed, which is not counted here)",
    Level.RESCORE: "every coalition evaluated again",
    Level.FULL: "every step of every verifier replayed as well",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the page, write nothing")
    parser.add_argument("--new", action="store_true", help="tell only the lies that the table lacks")
    options = parser.parse_args()
    known = {kind.cell: kind for kind in published()} if options.new else {}
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        kinds = run(Path(name), known)
    kept = sum(kind.cell in known for kind in kinds)
    text = page(kinds, time.perf_counter() - started, kept)
    if options.only_print:
        print(text)
    else:
        figures = {"machine": machine_facts(), "kinds": [kind.to_json() for kind in kinds]}
        write_results("tampering", figures, text)
    empty = [kind for kind in kinds if not kind.outcome.settled]
    for kind in empty:
        print(f"neither found nor explained: {kind.cell}", file=sys.stderr)
    return 1 if empty else 0


def published() -> list[Kind]:
    """The kinds of the table as it stands."""
    return [Kind.from_json(kind) for kind in json.loads(TABLE.read_text("utf-8"))["kinds"]]


def run(folder: Path, known: Mapping[Cell, Kind]) -> list[Kind]:
    """All lies told but the known ones, one after the other."""
    with whole_history(folder / "whole") as (world, index), contested_round(folder / "contested") as (contested, path):
        places = iter(range(10**9))

        def fresh() -> Collusion:
            place = folder / "forged" / str(next(places))
            place.mkdir(parents=True)
            return Collusion(contested, path, place)

        return list(told(every_lie(fresh, world, index, folder), known))


@contextmanager
def whole_history(folder: Path) -> Iterator[tuple[RoleWorld, Index]]:
    """A settled round: two honest trainers, one who skips half of its steps, two verifiers."""
    with start_node("anvil", accounts=12) as node:
        world = build_world(node, folder, rounds=1, honest=2, verifiers=2)
        world.play(1)
        yield world, open_index(world.rpc, world.contract)[0]
        world.close()


@contextmanager
def contested_round(folder: Path) -> Iterator[tuple[RoleWorld, Path]]:
    """A round in its dispute window, and its index as a file to copy."""
    with start_node("anvil", accounts=12) as node:
        world, path = play_contested(node, folder), folder / "index.sqlite"
        open_index(world.rpc, world.contract, str(path))[0].engine.dispose()
        yield world, path
        world.close()


def told(lies: Iterator[Lie], known: Mapping[Cell, Kind]) -> Iterator[Kind]:
    for number, lie in enumerate(lies, 1):
        if number % 20 == 0:
            print(f"{number} lies told, next about {lie.cell.target} {lie.cell.field}", file=sys.stderr, flush=True)
        yield known.get(lie.cell) or Kind(lie.cell, lie.tell())


def page(kinds: Sequence[Kind], seconds: float, kept: int) -> str:
    """The page in Markdown. `kept` of the kinds come from an earlier run."""
    earlier = f" {kept} rows are of earlier runs, on the code of that time (`--new`)." if kept else ""
    found = [kind for kind in kinds if kind.outcome.found]
    targets = list(dict.fromkeys(kind.cell.target for kind in kinds))
    lines = [
        "# Lies that an audit finds",
        "",
        f"{len(kinds)} kinds of lies about {len(targets)} kinds of messages: {len(found)} are found, "
        f"{len(kinds) - len(found)} are not, each for the reason in its row. The rows follow from the fields of the "
        "models and of the contracts' ABI, so a new field is a new row; a test fails for one that is neither found nor "
        "explained (`tests/auditor/test_tamper_table.py`), and tells a sample again. A quorum's lies "
        "are sealed, composed and signed with the verifiers' own keys, so only the lie itself can show them. "
        f"Made by `python -m benchmarks.attacks.tampering` in {seconds / 60:.0f} minutes.{earlier}",
        "",
        "| least audit that finds it | lies | what it looks at |",
        "|---|---|---|",
    ]
    levels = Counter(kind.outcome.level for kind in kinds)
    lines += [f"| {level} | {levels[level]} | {MEANING[level]} |" for level in Level if level in MEANING]
    lines += [f"| none | {levels[Level.NONE]} | see the rows |", ""]
    lines += ["| liar | lies | found |", "|---|---|---|"]
    liars = Counter(kind.cell.liar for kind in kinds)
    lines += [f"| {liar} | {n} | {sum(k.cell.liar == liar for k in found)} |" for liar, n in liars.items()]
    for target in targets:
        lines += ["", f"## {target[0].upper()}{target[1:]}", "| field | liar | lie | least audit | checks that fail |"]
        lines += ["|---|---|---|---|---|", *(row(kind) for kind in kinds if kind.cell.target == target)]
    return "\n".join(lines) + "\n"


def row(kind: Kind) -> str:
    cell, outcome = kind.cell, kind.outcome
    checks = ", ".join(f"`{name}`" for name in outcome.found)
    field = f"`{cell.field}`" if cell.field else "whole"
    cells = (field, cell.liar, cell.lie, str(outcome.level), checks or outcome.why)
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
