"""Every loop of the contracts stands in docs/contracts.md with what bounds it."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FUNCTION = re.compile(r"\bfunction (\w+)|\b(constructor)\b")
LOOP = re.compile(r"\b(?:for|while|do)\b\s*[({]")
ROW = re.compile(r"^\| `(\w+)\.(\w+)` \| (.+) \|$", re.MULTILINE)


def loops() -> set[tuple[str, str]]:
    """File and function of each loop, assembly included."""
    found = set()
    for file in (REPOSITORY / "contracts").rglob("*.sol"):
        function = ""
        for line in file.read_text().splitlines():
            code = line.split("//")[0]
            if named := FUNCTION.search(code):
                function = named[1] or named[2]
            if LOOP.search(code):
                found.add((file.stem, function))
    return found


def test_every_loop_says_what_bounds_it() -> None:
    listed = {(row[1], row[2]): row[3] for row in ROW.finditer((REPOSITORY / "docs/contracts.md").read_text())}
    found = loops()
    assert len(found) > 15
    assert set(listed) == found, f"no bound: {found - set(listed)}; no loop: {set(listed) - found}"
    assert all(len(bound) > 10 for bound in listed.values())
