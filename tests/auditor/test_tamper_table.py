"""The table of lies has no empty cell: each field of each message, by each liar, is found or explained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaproof.auditor.index.reader import Index
from deltaproof.protocol.outcome.attestation import Attestation
from tests.auditor.colluding import Collusion
from tests.auditor.tampering.attestations import attestation_kinds
from tests.auditor.tampering.everything import quick_kinds
from tests.auditor.tampering.fields import model_paths
from tests.auditor.tampering.kinds import Kind, Level
from tests.worlds.roles import RoleWorld

KINDS = 150


@pytest.fixture
def fresh(contested: RoleWorld, contested_database: Path, tmp_path: Path) -> Callable[[], Collusion]:
    return lambda: Collusion(contested, contested_database, Path(tempfile.mkdtemp(dir=tmp_path)))


def unexplained(kinds: list[Kind]) -> list[str]:
    return [f"{k.target} {k.field} {k.lie} by {k.liar}" for k in kinds if not k.settled]


def test_every_field_of_an_attestation_is_judged_or_explained(fresh: Callable[[], Collusion]) -> None:
    kinds = list(attestation_kinds(fresh, liars=("quorum",)))
    assert unexplained(kinds) == []
    assert {kind.level for kind in kinds if kind.found} >= {Level.EVENTS, Level.DEFAULT, Level.RESCORE}


def test_every_field_of_everything_else_is_judged_or_explained(
    fresh: Callable[[], Collusion], world: RoleWorld, index: Index
) -> None:
    kinds = list(quick_kinds(fresh, world, index))
    assert unexplained(kinds) == []
    assert len({(kind.target, kind.field, kind.liar, kind.lie) for kind in kinds if kind.found}) >= KINDS


def test_new_field_of_a_document_is_a_new_row() -> None:
    """Nobody has to think of it; without a check or a reason it is an empty cell."""

    class Longer(Attestation, kind="longer", max_bytes=1):
        remark: str = ""

    assert set(model_paths(Longer)) - set(model_paths(Attestation)) == {"remark"}
    assert not Kind("attestation", "remark", "quorum", "altered", Level.NONE).settled
