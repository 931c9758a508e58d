"""benchmarks.chain.proofs: which properties there are, what halmos says of them, and what of it stays."""

from __future__ import annotations

import re

import pytest

from benchmarks.chain import proofs


def test_properties_are_the_check_functions_of_their_contracts() -> None:
    found = list(proofs.properties())
    sources = [path.read_text() for path in proofs.TESTS.glob("*.t.sol")]
    assert len(found) == sum(len(re.findall(r"function check_", source)) for source in sources)
    assert len({one.key for one in found}) == len(found)
    for one in found:
        (home,) = [source for source in sources if f"contract {one.contract} " in source]
        assert f"function {one.name}(" in home


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("\x1b[32m[PASS]\x1b[0m check_a((uint96,bool),bytes32) (paths: 11, time: 3.01s, bounds: [])", proofs.PROVEN),
        ("[FAIL] check_a(uint96) (paths: 11, time: 0.43s, bounds: [])", proofs.REFUTED),
        ("[TIMEOUT] check_a() (paths: 11, time: 0.43s, bounds: [])", proofs.UNDECIDED),
        ("[ERROR] check_a() (paths: 11, time: 0.43s, bounds: [])", proofs.BROKEN),
    ],
)
def test_line_of_halmos_gives_the_outcome_and_paths(said: str, outcome: str) -> None:
    assert proofs.outcome_of(f"Running 1 tests\n{said}\nSymbolic test result") == (outcome, 11)


def test_proof_that_left_a_loop_early_says_so() -> None:
    warning = "check_a(): paths have not been fully explored due to the loop unrolling bound: 4\n"
    said = f"{warning}[PASS] check_a() (paths: 2, time: 0.43s, bounds: [])"
    assert proofs.outcome_of(said) == (proofs.CUT, 2)


def test_what_a_killed_halmos_left_unsaid_is_no_outcome() -> None:
    assert proofs.outcome_of("Running 1 tests for tests/symbolic/Vault.t.sol:VaultSymbolic\n") is None


def test_only_a_proof_of_the_same_sources_or_a_longer_try_stays() -> None:
    one = proofs.Property("C", "check_a", "source")
    proven = {"source": "source", "outcome": proofs.PROVEN, "limit": 10}
    assert proofs.stays(proven, one, 100)
    assert not proofs.stays({**proven, "source": "older"}, one, 100)
    assert not proofs.stays({**proven, "outcome": proofs.UNDECIDED}, one, 100)
    assert proofs.stays({**proven, "outcome": proofs.UNDECIDED}, one, 10)
    assert not proofs.stays(None, one, 10)


def test_another_property_of_the_file_changes_nothing_of_this_one() -> None:
    file = "contract C {\n    function help() {}\n    function check_a() { x; }\n    function check_b() {}\n}\n"
    assert proofs.without_others(file, "check_b") == proofs.without_others(file.replace("x;", "y;"), "check_b")
    assert proofs.without_others(file, "check_a") != proofs.without_others(file.replace("x;", "y;"), "check_a")
    assert proofs.without_others(file, "check_a") != proofs.without_others(file.replace("help", "aid"), "check_a")
