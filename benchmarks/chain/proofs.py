"""What a solver shows of the contracts for every input at once: each property of tests/symbolic, one process each.

    make symbolic                                   # builds what this needs, and runs all that is not decided yet
    python -m benchmarks.chain.proofs --contract VaultSymbolic --property check_claim --seconds 600
    python -m benchmarks.chain.proofs --afresh

Results: docs/results/proofs.md and data/proofs.json, written after each property, so that a run that was broken off
goes on. What was decided before is not run again unless `--afresh` is given, or the contracts or the property
have changed. Exit status 1 if a property has a counterexample.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.shared.places import FIGURES, PAGES, ROOT
from deltaproof.folders import write_whole

CONTRACTS = ROOT / "contracts"
TESTS = ROOT / "tests" / "symbolic"
SYMBOLIC = ROOT / "build" / "symbolic"
SECONDS = 280
"""For one property, by default."""
LOOPS = 4
"""How often a loop is unrolled."""
DECLARED = re.compile(r"^contract (\w+)|function (check_\w+)\(", re.MULTILINE)
SAID = re.compile(r"\[(PASS|FAIL|TIMEOUT|ERROR)\] check_\w+\(.*?\(paths: (\d+), time: [\d.]+s, bounds: \[(.*?)\]\)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PROVEN, UNDECIDED, REFUTED, BROKEN = "proven", "not decided", "counterexample", "not run to its end"
CUT = "proven for loops that short"
OUTCOMES = {"PASS": PROVEN, "FAIL": REFUTED, "TIMEOUT": UNDECIDED, "ERROR": BROKEN}


@dataclass(frozen=True)
class Property:
    """A `check_` function: for every argument it reverts or holds."""

    contract: str
    name: str
    source: str
    """Hash of all contracts and of its file without the other properties."""

    @property
    def key(self) -> str:
        """Its name among all."""
        return f"{self.contract}.{self.name}"


@dataclass
class Outcome:
    """Of a property."""

    outcome: str
    seconds: int
    paths: int
    limit: int
    """Seconds that it was given."""
    source: str
    made: str


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contract", default="", help="only contracts whose name starts so")
    parser.add_argument("--property", default="", help="only properties whose name starts so")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for one property")
    parser.add_argument("--budget", type=int, default=10**9, help="start no property after so many seconds")
    parser.add_argument("--afresh", action="store_true", help="what was decided before, too")
    chosen = parser.parse_args()
    began = time.monotonic()
    kept: dict[str, Any] = json.loads(_figures().read_text()) if _figures().is_file() else {}
    every = list(properties())
    # What was said of other sources leaves the page.
    kept = {one.key: kept[one.key] for one in every if kept.get(one.key, {}).get("source") == one.source}
    for one in every:
        if not (one.contract.startswith(chosen.contract) and one.name.startswith(chosen.property)):
            continue
        if not chosen.afresh and stays(kept.get(one.key), one, chosen.seconds):
            continue
        if time.monotonic() - began > chosen.budget:
            break
        outcome = decide(one, chosen.seconds)
        kept[one.key] = asdict(outcome)
        print(f"{one.key:<60} {outcome.outcome:<20} {outcome.seconds:>5} s {outcome.paths:>5} paths", flush=True)
        write_whole(_figures(), (json.dumps(kept, indent=1) + "\n").encode())
        write_whole(PAGES / "proofs.md", render(every, kept).encode())
    return any(outcome["outcome"] == REFUTED for outcome in kept.values())


def properties() -> Iterator[Property]:
    """All of tests/symbolic, by file and place."""
    shared = b"".join(path.read_bytes() for path in [*sorted(CONTRACTS.rglob("*.sol")), TESTS / "Symbolic.sol"])
    for path in sorted(TESTS.glob("*.t.sol")):
        source, contract = path.read_text(), ""
        for match in DECLARED.finditer(source):
            contract = match[1] or contract
            if match[2] is not None:
                own = shared + without_others(source, match[2]).encode()
                yield Property(contract, match[2], hashlib.sha256(own).hexdigest()[:16])


def without_others(source: str, name: str) -> str:
    """A file without the other properties in it, from each one's first line to the next function."""
    parts = re.split(r"(?m)^(?=    function )", source)
    return "".join(part for part in parts if f"function {name}(" in part or "function check_" not in part)


def decide(one: Property, limit: int) -> Outcome:
    """Runs halmos for one property. Raises SystemExit if it is not installed or knows no such property."""
    halmos = SYMBOLIC / "venv" / "bin" / "halmos"
    if not halmos.is_file():
        raise SystemExit(f"{halmos} is missing: `make symbolic` installs it")
    command = [
        str(halmos), "--root", str(ROOT), "--forge-build-out", str((SYMBOLIC / "out").relative_to(ROOT)),
        "--solver", "yices", "--loop", str(LOOPS), "--contract", one.contract, "--match-test", rf"^{one.name}\(",
        "--solver-timeout-assertion", str(limit * 1000), "--no-status",
    ]  # fmt: skip
    path = f"{halmos.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "FOUNDRY_PROFILE": "symbolic", "PATH": path, "COLUMNS": "400", "NO_COLOR": "1"}
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
    found = outcome_of(said)
    if found is None and process.returncode != -signal.SIGKILL:
        raise SystemExit(f"halmos said nothing of {one.key}:\n{said[-2000:]}")
    outcome, paths = found or (UNDECIDED, 0)
    seconds = round(time.monotonic() - began)
    return Outcome(outcome, seconds, paths, limit, one.source, datetime.datetime.now(datetime.UTC).date().isoformat())


def outcome_of(said: str) -> tuple[str, int] | None:
    """Outcome and number of paths of the one property that halmos told of; None if it told of none."""
    found = SAID.search(COLOUR.sub("", said))
    if found is None:
        return None
    outcome = OUTCOMES[found[1]]
    if outcome == PROVEN and "not been fully explored" in said:
        outcome = CUT
    return outcome, int(found[2])


def stays(outcome: Mapping[str, Any] | None, one: Property, limit: int) -> bool:
    """Whether an earlier outcome answers for the source as it is."""
    if outcome is None or outcome["source"] != one.source:
        return False
    return outcome["outcome"] in (PROVEN, CUT) or outcome["limit"] >= limit


def _figures() -> Path:
    return FIGURES / "proofs.json"


# The page.


def render(every: list[Property], kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The outcomes as a page."""
    proven = sum(kept.get(one.key, {}).get("outcome") in (PROVEN, CUT) for one in every)
    lines = [
        "# What holds for every input",
        "",
        "Printed by `make symbolic` (`python -m benchmarks.chain.proofs`): halmos runs each property of",
        "`tests/symbolic/` with every argument an unknown, and yices decides whether any value breaks it. One real",
        "contract at a time; all other modules answer anything. A loop is followed four times. A property that is *not",
        "decided* in its time is no finding and no proof. What the rows mean:",
        "[contracts](../contracts.md#for-every-input-at-once).",
        "",
        f"**{proven} of {len(every)}** are proven. Seconds include the start of halmos, on a machine that did other",
        "work.",
        "",
        "| contract | property | outcome | seconds | paths | made |",
        "|---|---|---|---|---|---|",
    ]
    for one in every:
        outcome = kept.get(one.key)
        if outcome is None:
            lines.append(f"| `{one.contract}` | `{one.name}` | not run yet | | | |")
            continue
        seconds = f"over {outcome['limit']}" if outcome["outcome"] == UNDECIDED else str(outcome["seconds"])
        lines.append(
            f"| `{one.contract}` | `{one.name}` | {outcome['outcome']} | {seconds} | {outcome['paths'] or ''} "
            f"| {outcome['made']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
