"""A quorum that scores nothing although the validation set was there: jurors hold two words together against it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.protocol.outcome.settlement import Verdict
from tests.verifier.jurors import juror_of, moved, opinion_of
from tests.worlds.roles import RoleWorld, build_world


def test_unscored_settlement_falls_where_the_stores_clock_and_scores_of_the_round_say_the_set_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three verifiers find no set, or say so. The third scores."""
    monkeypatch.setattr("verifier.life.PATIENCE_SECONDS", 0.0)
    with start_node("anvil", accounts=8) as node:
        world = build_world(node, tmp_path, rounds=1, honest=1, verifiers=3)
        honest, *liars = world.verifiers
        round_ = world.open_round()
        world.work()
        world.until(Phase.ATTEST_COMMIT)
        honest.attest_commit(round_)
        scored = honest.own.of(round_)
        assert scored is not None
        assert scored.game is not None
        aside = tmp_path / "not shown"
        moved([Path("validation")], world.store_folder, aside)
        world.skip_time(361)
        for verifier in liars:
            verifier.attest_commit(round_)
            blind = verifier.own.of(round_)
            assert blind is not None
            assert blind.game is None
        moved([Path("validation")], aside, world.store_folder)
        world.until(Phase.ATTEST_REVEAL)
        for verifier in world.verifiers:
            verifier.attest_reveal(round_)
        world.until(Phase.SETTLE)
        world.skip_time(601)
        world.gateway.tasks.advance(world.task)
        for verifier in (*liars, *liars):
            verifier.settle(round_)
        assert world.gateway.tasks.phase(world.task).phase is Phase.WINDOW
        assert not any(leaf.score_nanos for leaf in liars[0]._signed[round_, 0].leaves)
        assert opinion_of(world, juror_of(world)) is True
        only_one_word(world, aside, monkeypatch)
        remembered(world, aside)
        world.close()


def only_one_word(world: RoleWorld, aside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's clock alone may be the sponsor's, and a verifier that scored its friend."""
    (set_,) = (world.store_folder / "validation").iterdir()
    written = set_.stat().st_mtime
    os.utime(set_, (2.0**40, 2.0**40))
    assert opinion_of(world, juror_of(world)) is False, "the store says that it came late"
    os.utime(set_, (written, written))
    document = scored_document(world)
    moved([document], world.store_folder, aside)
    assert opinion_of(world, juror_of(world)) is False, "nobody says to have scored"
    moved([document], aside, world.store_folder)
    monkeypatch.setattr("verifier.opinions.attested_alike", lambda *_: False)
    assert opinion_of(world, juror_of(world)) is False, "scores that nobody finds say nothing"
    monkeypatch.undo()


def remembered(world: RoleWorld, aside: Path) -> None:
    """An opinion is formed anew where more is known, and not where something is taken away."""
    juror, document = juror_of(world), scored_document(world)
    moved([document], world.store_folder, aside)
    assert opinion_of(world, juror) is False
    moved([document], aside, world.store_folder)
    assert opinion_of(world, juror) is False, "once for each level"
    assert opinion_of(world, juror, level=1) is True
    moved([document], world.store_folder, aside)
    assert opinion_of(world, juror, level=2) is True


def scored_document(world: RoleWorld) -> Path:
    own = world.verifiers[0].own.of(world.gateway.tasks.phase(world.task).round)
    assert own is not None
    assert {finding.verdict for finding in own.findings} >= {Verdict.ACCEPTED}
    return Path("attestations") / own.digest().hex()
