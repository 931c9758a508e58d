"""What each party can read, alter, withhold or learn: every cell of these tables names the tests that show it."""

from __future__ import annotations

import re

import pytest

from benchmarks.shared.places import ROOT

PAGES = ("gateway.md", "threat-model.md")
COLUMNS = ("read", "alter", "withhold", "learn")
TESTS = {
    name: path.read_text()
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)", path.read_text())
}


def rows() -> list[tuple[str, dict[str, str], str]]:
    """Party, its cells by column, and what is said about tests, of every such table."""
    found = []
    for page in PAGES:
        for table in re.findall(r"(?:^\|.*\n)+", (ROOT / "docs" / page).read_text(), re.MULTILINE):
            head, _, *lines = (
                [cell.strip() for cell in line.strip("|\n ").split(" | ")] for line in table.splitlines()
            )
            if head[0] == "party" and "read" in head:
                names = [name.split()[0] for name in head]
                found += [
                    (f"{page}: {line[0]}", {n: c for n, c in zip(names, line, strict=True) if n in COLUMNS}, line[-1])
                    for line in lines
                ]
    return found


@pytest.mark.parametrize(("party", "cells", "shown"), rows(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_cell_names_tests_that_exist(party: str, cells: dict[str, str], shown: str) -> None:
    covered: set[str] = set()
    for part in shown.split("; "):
        columns, _, tests = part.partition(": ")
        named = re.findall(r"`(test_\w+)(?:\[([^`]+)\])?`", tests)
        assert named, f"{party}: {part!r} names no test"
        for name, case in named:
            assert name in TESTS, f"{party}: there is no {name}"
            assert not case or f'"{case}"' in TESTS[name], f"{party}: {name} has no case {case!r}"
        covered |= set(columns.split(", "))
    assert covered <= set(COLUMNS), party
    assert {name for name, cell in cells.items() if cell} <= covered, f"{party}: a cell without a test"


def test_tables_are_found() -> None:
    """One of the gateway, one of sealed openings, one of private adapters."""
    assert len(rows()) > 25
