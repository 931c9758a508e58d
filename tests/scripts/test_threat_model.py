"""Every test that the threat model's table of attacks names is there, and every attack of the audit has its row."""

from __future__ import annotations

import re

import pytest

from benchmarks.shared.places import ROOT

TABLE = (ROOT / "docs" / "threat-model.md").read_text().split("## Attacks on the contracts\n")[1].split("\n### ")[0]
ROWS = [line.strip("|").split("|") for line in TABLE.splitlines() if re.match(r"\| \d+[a-z]?\d? \|", line)]
TESTS = {
    name
    for pattern, suffix in ((r"function (test\w+)", "*.t.sol"), (r"def (test\w+)", "test_*.py"))
    for path in (ROOT / "tests").rglob(suffix)
    for name in re.findall(pattern, path.read_text())
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_attack_has_a_defence_and_tests_that_exist(row: list[str]) -> None:
    _, attack, defence, tests = row
    assert attack.strip()
    assert defence.strip()
    named = [f"test_{code}_" for code in re.findall(r"\b[A-E]\d+[a-d]?\b", tests)]
    named += [name.rstrip("*") for name in re.findall(r"`(test\w+\*?)`", tests)]
    assert named or re.search(r"`(\w+\.t\.sol|tests/\w+)", tests)
    assert not [name for name in named if not any(test.startswith(name) for test in TESTS)]


def test_rows_one_to_nine_have_a_second_and_a_third_variant() -> None:
    variants = [row[0].strip() for row in ROWS]
    for row in range(1, 9):
        assert sum(name.rstrip("abcd") == str(row) for name in variants) >= 3, row
    assert len([name for name in variants if name.startswith("9")]) >= 9


def test_every_proof_of_concept_of_the_audit_is_in_a_row() -> None:
    found = {code for row in ROWS for code in re.findall(r"\b[A-E]\d+\b", row[3])}
    ported = {re.match(r"test_([A-E]\d+)", test)[1] for test in TESTS if re.match(r"test_[A-E]\d+[a-d]?_", test)}  # type: ignore[index]
    assert ported - found == set()
