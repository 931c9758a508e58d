"""Checks that the pages keep: of a store that was away, or a chain that turned, they are made again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import update

from deltaproof.auditor.index import schema
from deltaproof.auditor.index.reader import Index
from deltaproof.pages import data as data_of_pages
from deltaproof.pages.data import PageData
from deltaproof.store import ArtifactStore
from tests.auditor.forgery import Forgery, Overlay
from tests.worlds.roles import RoleWorld


def test_what_a_store_did_not_show_for_a_moment_is_looked_for_again(
    world: RoleWorld, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: be the store, hide an attestation while the first visitor looks, and no page ever shows a round that was
    checked."""
    forgery = Forgery(world, database, tmp_path)
    store = ArtifactStore(Overlay(world.store_folder, forgery.changed))
    pages = PageData(Index(forgery.engine), store)
    path = f"attestations/{forgery.args('AttestationRevealed')['artifact_digest'][2:]}"
    forgery.changed[path] = None

    def undone() -> list[str]:
        checks = pages.at("round/1/1")["checks"]
        return [check["name"] for check in checks if check["artifact"] == path and check["status"] != "pass"]

    assert "attestation document" in undone()
    del forgery.changed[path]
    assert "attestation document" in undone(), "not at each look"
    now = time.monotonic()
    monkeypatch.setattr(data_of_pages.time, "monotonic", lambda: now + 2 * data_of_pages.AGAIN_SECONDS)
    assert undone() == []


def test_checks_of_a_round_that_is_on_the_chain_no_more_are_made_again(
    world: RoleWorld, database: Path, tmp_path: Path
) -> None:
    forgery = Forgery(world, database, tmp_path)
    pages = PageData(Index(forgery.engine), ArtifactStore(Overlay(world.store_folder, {})))
    before = pages.at("round/1/1")["checks"]
    assert pages._kept[1, 1][2] == before
    with forgery.engine.begin() as db:
        db.execute(update(schema.blocks).values(hash="0x" + "22" * 32))
    forgery.edit("SettlementPosted", "settlement.total_payout", 7)
    after = pages.at("round/1/1")["checks"]
    assert [check["name"] for check in after if check["status"] == "fail" and check not in before]


def test_pages_keep_the_checks_of_so_many_rounds(
    world: RoleWorld, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgery = Forgery(world, database, tmp_path)
    pages = PageData(Index(forgery.engine), ArtifactStore(Overlay(world.store_folder, {})))
    monkeypatch.setattr(data_of_pages, "KEPT_ROUNDS", 1)
    for number in (1, 2):
        pages.at(f"round/1/{number}")
    assert list(pages._kept) == [(1, 2)]


@pytest.mark.parametrize("path", ["task/²", f"task/{'9' * 5_000}", f"round/1/{'9' * 30}", "why/1/٣/0x"])
def test_number_that_is_none_is_no_page(world: RoleWorld, database: Path, tmp_path: Path, path: str) -> None:
    pages = PageData(Index(Forgery(world, database, tmp_path).engine), None)
    with pytest.raises(KeyError):
        pages.at(path)
