"""The published table of lies: every cell that can be listed is in it, found or explained, and a sample is told again.

`python -m benchmarks.attacks.tampering` tells all of them and writes the table.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.auditor.index.reader import Index
from deltaproof.auditor.session import open_index
from deltaproof.protocol.outcome.attestation import Attestation
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.everything import every_lie
from tests.auditor.tampering.fields import model_paths
from tests.auditor.tampering.kinds import Cell, Kind, Level, Lie, Outcome
from tests.auditor.tampering.quorums import QUORUM_LIES
from tests.worlds.roles import RoleWorld

TABLE = Path("docs/results/data/tampering.json")
KINDS = 150
SEED = 15
RERUN = "run python -m benchmarks.attacks.tampering again"


@pytest.fixture(scope="module")
def table() -> list[Kind]:
    return [Kind.from_json(kind) for kind in json.loads(TABLE.read_text("utf-8"))["kinds"]]


@pytest.fixture(scope="module")
def lies(
    contested: RoleWorld, contested_database: Path, world: RoleWorld, tmp_path_factory: pytest.TempPathFactory
) -> dict[Cell, Lie]:
    def fresh() -> Collusion:
        return Collusion(contested, contested_database, tmp_path_factory.mktemp("forged"))

    index: Index = open_index(world.rpc, world.contract)[0]
    return {lie.cell: lie for lie in every_lie(fresh, world, index, tmp_path_factory.mktemp("bundles"))}


def test_every_lie_that_can_be_listed_is_in_the_table(table: list[Kind], lies: dict[Cell, Lie]) -> None:
    """A field that somebody adds to a message is a row that the table lacks."""
    told = {kind.cell for kind in table}
    assert set(lies) - told == set(), RERUN
    assert told - set(lies) == set(), RERUN


def test_every_cell_of_the_table_is_found_or_explained(table: list[Kind]) -> None:
    assert [kind.cell for kind in table if not kind.outcome.settled] == []
    assert sum(bool(kind.outcome.found) for kind in table) >= KINDS
    assert {kind.outcome.level for kind in table} == set(Level)


def test_named_lies_of_a_quorum_are_found_by_the_audit_that_can_see_them(table: list[Kind]) -> None:
    told = {kind.cell.lie: kind.outcome for kind in table if kind.cell.target == "lie of a quorum"}
    expected = {name: (lie.level, lie.check in told[name].found or not lie.check) for name, lie in QUORUM_LIES.items()}
    assert {name: (outcome.level, True) for name, outcome in told.items()} == expected


def covering(table: list[Kind]) -> Iterator[Kind]:
    """Lies that between them tell of every kind of message, by every liar, and fail every check and every level."""
    order = sorted((kind for kind in table if _covers(kind)), key=lambda kind: kind.cell)
    random.Random(SEED).shuffle(order)
    missing = set(itertools.chain.from_iterable(map(_covers, order)))
    while missing:
        best = max(order, key=lambda kind: len(missing & _covers(kind)))
        missing -= _covers(best)
        yield best


def _covers(kind: Kind) -> set[tuple[str, ...]]:
    if kind.cell.target == "lie of a quorum":
        return set()  # test_quorum_lies.py tells each
    message = kind.cell.target if not kind.cell.target.startswith("event ") else "event"
    checks = {("check", name) for name in kind.outcome.found}
    return {("message", message), ("liar", kind.cell.liar), ("level", kind.outcome.level), *checks}


def test_sample_of_the_table_comes_out_again(table: list[Kind], lies: dict[Cell, Lie]) -> None:
    for kind in covering(table):
        again = lies[kind.cell].tell()
        assert again.level == kind.outcome.level, (kind, again, RERUN)
        assert set(again.found) & set(kind.outcome.found) or again.why == kind.outcome.why, (kind, again, RERUN)


def test_new_field_of_a_document_is_a_new_row() -> None:
    """Nobody has to think of it; without a check or a reason it is an empty cell."""

    class Longer(Attestation, kind="longer", max_bytes=1):
        remark: str = ""

    assert set(model_paths(Longer)) - set(model_paths(Attestation)) == {"remark"}
    assert not Outcome(Level.NONE).settled
