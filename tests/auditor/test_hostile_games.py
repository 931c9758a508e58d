"""A verifier that attests what everybody finds, beside a game that nobody can read: audits and pages go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from deltaproof.auditor.explain import explain
from deltaproof.auditor.index import schema
from deltaproof.auditor.index.reader import Index
from deltaproof.pages.data import PageData
from deltaproof.protocol.types import address
from deltaproof.store import ArtifactStore
from tests.auditor.forgery import Forgery, Overlay
from tests.worlds.roles import RoleWorld

Json = dict[str, Any]
STRANGER = address("0x" + "77" * 20)


@pytest.fixture
def forgery(world: RoleWorld, database: Path, tmp_path: Path) -> Forgery:
    return Forgery(world, database, tmp_path)


def strangers(game: Json) -> None:
    game["players"][0] = STRANGER


def one_often(game: Json) -> None:
    """30,000 times in 131,072 coalitions it would be a table of four gigabytes, in a document of ten megabytes."""
    game["players"] = game["players"][:1] * 300
    game["coalitions"] = [{"members": [], "value_nanos": 0}] * 1_000


def nobody(game: Json) -> None:
    game["coalitions"][-1]["members"] = [2**32 - 1]


def few_slopes(game: Json) -> None:
    shares = [{"player": at, "units": 1, "slopes_nanos": [1]} for at in range(len(game["players"]))]
    game |= {"coalitions": [], "method": "path", "passes": [{"gain_nanos": 1, "shares": shares}]}


def pages_of(forgery: Forgery) -> PageData:
    return PageData(Index(forgery.engine), ArtifactStore(Overlay(forgery.world.store_folder, forgery.changed)))


@pytest.mark.parametrize("change", [strangers, one_often, nobody, few_slopes])
def test_game_that_nobody_can_read_fails_and_is_shown_nobody(
    forgery: Forgery, world: RoleWorld, change: Callable[[Json], None]
) -> None:
    """Attack: the least stake of one verifier of three ends every audit and report, or takes all of their memory."""
    forgery.attestation(lambda document: change(document["game"]))
    digest = forgery.args("AttestationRevealed")["artifact_digest"]
    forgery.edit("SettlementPosted", "settlement.artifact_digest", digest)
    failed = {check.name for check in forgery.audit(offline=True, models=False)}
    assert "scores" in failed
    pages = pages_of(forgery)
    game = pages.at("round/1/1")["game"]
    assert game is not None, "another verifier's game is the same"
    assert STRANGER not in json.dumps(game)
    assert len(game["players"]) < len(world.trainers)
    trainer = pages.at("round/1/1")["trainers"][0]["trainer"]
    assert (
        "the attested game is none of who was accepted: no score follows from it"
        in (pages.at(f"why/1/1/{trainer}")["lines"])
    )


def test_attestation_larger_than_its_round_can_make_it_is_not_read(forgery: Forgery) -> None:
    """Attack: attest a quarter of a gigabyte in a round of three trainers, and have every audit and page parse it."""
    padding = {"step": -1, "check": "padding", "passed": True, "measured": 0.0, "message": "x" * 2_000}
    forgery.attestation(lambda document: document["findings"][0]["checks"].extend([padding] * 500))
    failed = [str(check) for check in forgery.audit(offline=True, models=False) if check.name == "attestation document"]
    assert len(failed) == 1
    assert "bytes it may have" in failed[0]


def test_trainer_whom_a_settlement_leaves_out_is_told_so(forgery: Forgery) -> None:
    """Attack: settle without a leaf of somebody who committed, and no page says why it got nothing."""
    index = Index(forgery.engine)
    store = ArtifactStore(Overlay(forgery.world.store_folder, forgery.changed))
    trainer = PageData(index, store).at("round/1/1")["trainers"][0]["trainer"]
    with forgery.engine.begin() as db:
        left = schema.leaves.c
        db.execute(delete(schema.leaves).where(left.trainer != trainer))
        db.execute(update(schema.leaves).values(trainer=STRANGER))
    told = explain(index, store, 1, 1, address(trainer)).lines
    assert any("the settlement has no leaf of it" in line for line in told)
