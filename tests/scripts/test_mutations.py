"""The list of old bugs follows the contracts, and the generator of mutants changes one thing at a time."""

from __future__ import annotations

import pytest

from benchmarks.chain.mutants import mutants
from benchmarks.chain.mutations import LIBRARIES, put_back
from benchmarks.chain.old_bugs import INVARIANTS, OLD_BUGS, OldBug
from benchmarks.shared.places import ROOT

SOURCES = ROOT / "contracts"


@pytest.mark.parametrize("bug", [*OLD_BUGS, *INVARIANTS], ids=lambda bug: f"{bug.row}: {bug.what}")
def test_old_bug_can_be_put_back(bug: OldBug) -> None:
    source = (SOURCES / bug.file).read_text()
    assert put_back(bug, source) != source


def test_every_row_of_the_audit_has_its_bug() -> None:
    rows = {bug.row.rstrip("bcd") for bug in OLD_BUGS}
    assert rows >= {f"A{n}" for n in range(1, 20)} | {
        "B1",
        "C2",
        "C3",
        "C5",
        "C6",
        "C10",
        "C11",
        "D1",
        "D2",
        "D3",
        "D4",
    }


def test_mutant_changes_one_line_of_code_and_says_how() -> None:
    source = "\n".join(
        [
            "import {A} from 'a';",
            "library L {",
            "    /// 1 + 1",
            "    function f(uint256 a) internal pure returns (uint256) {",
            "        if (a > 2 && !b(a)) return 0; // a + b",
            "        total += a;",
            "        require(a < 9, Wrong(a));",
            "        assembly {",
            "            let x := add(a, 0x20)",
            "        }",
            "    }",
            "}",
        ]
    )
    found = [(m.line, m.kind, m.after.strip()) for m in mutants(source)]
    assert (5, "comparison", "if (a >= 2 && !b(a)) return 0; // a + b") in found
    assert (5, "logic", "if (a > 2 || !b(a)) return 0; // a + b") in found
    assert (5, "negation", "if (a > 2 && b(a)) return 0; // a + b") in found
    assert (5, "literal", "if (a > 3 && !b(a)) return 0; // a + b") in found
    assert (6, "assignment", "total -= a;") in found
    assert (6, "deletion", "") in found
    assert (7, "deletion", "") in found
    assert (9, "opcode", "let x := sub(a, 0x20)") in found
    assert (9, "literal", "let x := add(a, 0x21)") in found
    assert {line for line, _, _ in found} == {5, 6, 7, 9}
    for mutant in mutants(source):
        changed = mutant.applied(source).split("\n")
        assert [i for i, line in enumerate(source.split("\n")) if changed[i] != line] == [mutant.line - 1]


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_has_mutants(library: str) -> None:
    assert len(list(mutants((SOURCES / "libraries" / f"{library}.sol").read_text()))) >= 4
