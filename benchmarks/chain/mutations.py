"""Whether the contracts' tests notice bugs: those that the contracts had, and every small one in the core libraries.

    python -m benchmarks.chain.mutations            # old bugs, and a sample of the mutants of each library
    python -m benchmarks.chain.mutations --only bugs
    python -m benchmarks.chain.mutations --per-library 1000000 --library PayoutRule

Everything is compiled in a copy below build/, without the optimiser. Results: docs/results/mutations.md and
data/mutations.json. A mutant that does not compile counts for nothing. A run that was broken off goes on where it
stood: a library's mutants that were killed are not tried again until the library changes; survivors always are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chain.mutants import Mutant, mutants
from benchmarks.chain.old_bugs import INVARIANTS, OLD_BUGS, OldBug
from benchmarks.shared.places import BUILD, FIGURES, PAGES, ROOT
from deltaproof.folders import write_whole

LIBRARIES = (
    "PayoutRule", "LeafTree", "OrderedMerkle", "StakeHistory", "Commitments", "Float32", "OptimizerStep", "HashToCurve",
)  # fmt: skip
LIBRARY_TESTS = ("Vectors.t.sol", "Libraries.t.sol", "Drand.t.sol")
LIBRARY_CONTRACTS = "VectorsTest|LibrariesTest|DrandTest"
FIRST_TESTS = {
    "PayoutRule": "LibrariesTest", "LeafTree": "LibrariesTest", "StakeHistory": "LibrariesTest",
    "HashToCurve": "DrandTest",
}  # fmt: skip
"""Where most mutants of a library fall; the others' in the vectors. All tests run for a mutant that is left."""
PER_LIBRARY = 40
TIMEOUT_SECONDS = 300
ENVIRONMENT = {
    "FOUNDRY_OPTIMIZER": "false",
    "FOUNDRY_DYNAMIC_TEST_LINKING": "true",
    "FOUNDRY_LINT_ON_BUILD": "false",
    # That a sequence fails is enough; nobody reads the shortest.
    "FOUNDRY_INVARIANT_SHRINK_RUN_LIMIT": "0",
    # Ten times as many lives as in the short profile of every test run.
    "FOUNDRY_INVARIANT_RUNS": "160",
}
EQUIVALENT: Mapping[tuple[str, str], str] = {
    (
        "PayoutRule", "if (earning * made.floorEach >= budget) made.floorEach = budget / earning;",
    ): "where both sides are equal, the division gives the same floor",
    ("PayoutRule", "if (payout >= made.cap) payout = made.cap;"): "what equals the cap is set to the cap",
    (
        "PayoutRule", "return earning == 0 || paid > least ? 0 : (least - paid) / earning;",
    ): "where both are equal, nothing is missing",
    ("LeafTree", "let free := mload(0x41)"): "256 times the pointer is free memory as well",
    (
        "Float32", "(ma, mb, ea) = (ma << 70, mb == 0 ? 0 : 2, ea - 70);",
    ): "all that the last of 70 extra bits can do is break a tie; the one before it does the same",
    (
        "Float32", "(ma, mb, ea) = (ma << 70, mb != 0 ? 0 : 1, ea - 70);",
    ): "the larger of two so distant values is a float32 by itself, and the smaller one cannot move it at all",
    ("Float32", "if (e + shift <= LOWEST) shift = LOWEST - e;"): "where both sides are equal, the shift stays as it is",
    ("Float32", "} else if (shift > 202) {"): "a value below 2^200 that is shifted by 202 bits rounds to zero as well",
}  # fmt: skip
"""Mutants that no test can tell from the source: (library, mutated line without its indentation), and why."""


@dataclass
class Score:
    """Of the mutants of one library."""

    made: int = 0
    tried: int = 0
    killed: int = 0
    invalid: int = 0
    survivors: list[dict[str, Any]] = field(default_factory=list)
    equivalent: list[dict[str, Any]] = field(default_factory=list)


class Workspace:
    """A copy of contracts and tests, in which one file at a time is changed."""

    def __init__(self, name: str, contracts: Sequence[str], tests: Sequence[str]) -> None:
        """`contracts` and `tests` are paths below contracts/ and tests/forge/; `.` is all of them."""
        self.root = BUILD / "mutations" / name
        for part in ("contracts", "tests"):
            shutil.rmtree(self.root / part, ignore_errors=True)
        for source, names in (("contracts", contracts), ("tests/forge", tests), ("tests/vectors", ["."])):
            for entry in names:
                _copy(ROOT / source / entry, self.root / source / entry)
        _copy(ROOT / "foundry.toml", self.root / "foundry.toml")
        for linked in ("node_modules", "scripts"):
            if not (self.root / linked).exists():
                (self.root / linked).symlink_to(ROOT / linked)

    def verdict(self, file: str, changed: str, match: Sequence[str]) -> str:
        """`killed`, `survived`, `timeout` or `invalid`, with `changed` in the place of a file below contracts/."""
        path = self.root / "contracts" / file
        original = path.read_text()
        path.write_text(changed)
        try:
            return self.test(match)
        finally:
            path.write_text(original)

    def test(self, match: Sequence[str]) -> str:
        """How the tests come out with the sources as they are."""
        command = ["forge", "test", "--fail-fast", *match]
        try:
            done = subprocess.run(
                command, cwd=self.root, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True,
                timeout=TIMEOUT_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "timeout"
        said = done.stdout + done.stderr
        if done.returncode == 0:
            return "survived" if " passed" in said else "no test"
        return "killed" if "[FAIL" in said else "invalid"


class KeptVerdicts:
    """Verdicts of earlier runs, by the mutated source. What survived is tried again: tests may have come since."""

    def __init__(self) -> None:
        """Reads what earlier runs left below build/."""
        self.path = BUILD / "mutations" / "verdicts.json"
        self.found: dict[str, str] = json.loads(self.path.read_text()) if self.path.is_file() else {}

    def get(self, changed: str) -> str | None:
        """The verdict, if an earlier run has one that stays."""
        return self.found.get(hashlib.sha256(changed.encode()).hexdigest())

    def keep(self, changed: str, verdict: str) -> None:
        """Writes a verdict down for later runs."""
        if verdict not in ("killed", "invalid"):
            return
        self.found[hashlib.sha256(changed.encode()).hexdigest()] = verdict
        write_whole(self.path, json.dumps(self.found).encode())


def main() -> int:
    """Exit status 1 if an old bug goes unnoticed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("bugs", "libraries"))
    parser.add_argument("--row", default="", help="only old bugs whose row matches this regular expression")
    parser.add_argument("--library", choices=LIBRARIES, action="append", help="these alone; may be repeated")
    parser.add_argument("--per-library", type=int, default=PER_LIBRARY, help="mutants of each, evenly spread")
    chosen = parser.parse_args()
    kept = json.loads(_figures().read_text()) if _figures().is_file() else {}
    if chosen.only != "libraries":
        noticed = {**{bug["row"]: bug["noticed"] for bug in kept.get("bugs", ())}, **dict(old_bugs(chosen.row))}
        kept["bugs"] = [{**asdict(bug), "noticed": noticed.get(bug.row, False)} for bug in (*OLD_BUGS, *INVARIANTS)]
    if chosen.only != "bugs":
        scores = {
            name: asdict(score) for name, score in library_scores(chosen.library or LIBRARIES, chosen.per_library)
        }
        kept["libraries"] = {**kept.get("libraries", {}), **scores}
    _figures().write_text(json.dumps(kept, indent=1) + "\n")
    page = render(kept)
    (PAGES / "mutations.md").write_text(page)
    print(page)
    return any(not bug["noticed"] for bug in kept.get("bugs", ()))


def old_bugs(rows: str = "") -> Iterator[tuple[str, bool]]:
    """Each bug's row, and whether its tests fail with it back in place. Raises SystemExit if they fail without it."""
    space = Workspace("bugs", ["."], ["."])
    for bug in (bug for bug in (*OLD_BUGS, *INVARIANTS) if re.search(rows, bug.row)):
        match = ["--match-test", bug.tests]
        if bug in INVARIANTS:
            match += ["--match-contract", "InvariantsTest"]
        began = time.monotonic()
        source = (ROOT / "contracts" / bug.file).read_text()
        verdict = space.verdict(bug.file, put_back(bug, source), match)
        print(f"{bug.row:<14} {verdict:<9} {time.monotonic() - began:4.0f} s  {bug.what}", flush=True)
        yield bug.row, verdict == "killed"
    # What a settlement costs with a full quorum holds with the optimiser alone.
    if space.test(["--no-match-test", "test_E17"]) != "survived":
        raise SystemExit("the tests fail without any bug")


def put_back(bug: OldBug, source: str) -> str:
    """The source with the bug. Raises ValueError if what it changes does not stand there once."""
    if source.count(bug.before) != 1:
        raise ValueError(f"{bug.row}: {bug.file} has {bug.before!r} {source.count(bug.before)} times, not once")
    return source.replace(bug.before, bug.after)


def library_scores(names: Sequence[str], most: int) -> Iterator[tuple[str, Score]]:
    """Each library with the score of its mutants."""
    sources = ["libraries", "interfaces", "BlockhashBeacon.sol", "DrandBeacon.sol"]
    space = Workspace("libraries", sources, [*LIBRARY_TESTS, "support/Vm.sol", "support/PayoutReference.sol"])
    match = ["--match-contract", LIBRARY_CONTRACTS]
    if space.test(match) != "survived":
        raise SystemExit("the libraries' tests fail without any mutant")
    kept = KeptVerdicts()
    for name in names:
        file = f"libraries/{name}.sol"
        source = (ROOT / "contracts" / file).read_text()
        found = list(mutants(source))
        first = ["--match-contract", FIRST_TESTS.get(name, "VectorsTest")]
        score = Score(made=len(found))
        for mutant in _spread(found, most):
            why = EQUIVALENT.get((name, mutant.after.strip()))
            if why:
                score.equivalent.append({**_shown(mutant), "why": why})
                continue
            changed = mutant.applied(source)
            verdict = kept.get(changed) or space.verdict(file, changed, first)
            if verdict == "survived":
                verdict = space.verdict(file, changed, match)
            kept.keep(changed, verdict)
            _count(score, mutant, verdict)
        print(f"{name:<14} {score.killed} of {score.tried} killed, {score.invalid} do not compile", flush=True)
        yield name, score


def _count(score: Score, mutant: Mutant, verdict: str) -> None:
    if verdict == "invalid":
        score.invalid += 1
        return
    score.tried += 1
    # An endless loop is noticed, too.
    score.killed += verdict in ("killed", "timeout")
    if verdict == "survived":
        score.survivors.append(_shown(mutant))
        print(f"  survived: line {mutant.line}, {mutant.kind}: {mutant.after.strip()}", flush=True)


def _shown(mutant: Mutant) -> dict[str, Any]:
    return {
        "line": mutant.line,
        "kind": mutant.kind,
        "before": mutant.before.strip(),
        "after": mutant.after.strip(),
    }


def _spread(found: Sequence[Mutant], most: int) -> list[Mutant]:
    """At most so many, evenly over the source."""
    if len(found) <= most:
        return list(found)
    return [found[i * len(found) // most] for i in range(most)]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def _figures() -> Path:
    return FIGURES / "mutations.json"


# The page.


def render(results: Mapping[str, Any]) -> str:
    """The results as a page."""
    lines = [
        "# Do the contracts' tests notice bugs?",
        "",
        "Printed by `python -m benchmarks.chain.mutations`. Every bug is put into a copy of the contracts, alone, and",
        "the tests run until one fails.",
        "",
        *_bug_lines(results.get("bugs", ())),
        *_library_lines(results.get("libraries", {})),
    ]
    return "\n".join(lines) + "\n"


def _bug_lines(bugs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    noticed = sum(bug["noticed"] for bug in bugs)
    yield "## Old bugs"
    yield f"{noticed} of {len(bugs)} are noticed. Rows are those of the audit"
    yield "([attacks](../threat-model.md#attacks-on-the-contracts)). The last ones have to be noticed by the stateful"
    yield "fuzz test alone, in 16,000 calls; in so few it does not notice A7 and B1b, which only tests that name"
    yield "them do."
    yield ""
    yield "| row | put back | in | noticed |"
    yield "|---|---|---|---|"
    for bug in bugs:
        yield f"| {bug['row']} | {bug['what']} | `{bug['file']}` | {'yes' if bug['noticed'] else '**no**'} |"
    yield ""


def _library_lines(libraries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not libraries:
        yield "The libraries' mutants were not tried in this run: `--only libraries` does."
        return
    killed = sum(score["killed"] for score in libraries.values())
    tried = sum(score["tried"] for score in libraries.values())
    yield "## Mutants of the core libraries"
    yield (
        "One operator, literal, opcode or statement changed at a time; of each library a sample, evenly spread over "
        f"its source. Score: **{killed} of {tried}** ({killed / max(1, tried):.0%})."
    )
    yield ""
    yield "| library | mutants | in the sample | do not compile | equivalent | tried | killed |"
    yield "|---|---|---|---|---|---|---|"
    for name, score in libraries.items():
        same = len(score["equivalent"])
        sample = score["tried"] + score["invalid"] + same
        yield (
            f"| `{name}` | {score['made']} | {sample} | {score['invalid']} | {same} "
            f"| {score['tried']} | {score['killed']} |"
        )
    yield ""
    survivors = [(name, mutant) for name, score in libraries.items() for mutant in score["survivors"]]
    if survivors:
        yield "### Survivors"
        yield "| library | line | was | became |"
        yield "|---|---|---|---|"
        for name, mutant in survivors:
            before, after = (mutant[side].replace("|", "\\|") for side in ("before", "after"))
            yield f"| `{name}` | {mutant['line']} | `{before}` | `{after}` |"
        yield ""
    equivalent = [(name, mutant) for name, score in libraries.items() for mutant in score["equivalent"]]
    if equivalent:
        yield "### Equivalent"
        yield "They do what the source does, so no test can tell them from it."
        yield ""
        yield "| library | line | became | why |"
        yield "|---|---|---|---|"
        for name, mutant in equivalent:
            after = mutant["after"].replace("|", "\\|")
            yield f"| `{name}` | {mutant['line']} | `{after}` | {mutant['why']} |"


if __name__ == "__main__":
    sys.exit(main())
