"""What others did in the meantime keeps no verifier from closing a round and claiming its fee."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Outcome
from deltaproof.protocol.outcome.settlement import PostedLeaves, SettlementProposal, Verdict
from deltaproof.protocol.types import RoundIndex
from deltaproof.store import open_store
from tests.worlds.gateways import GatewayWorld, world_alone
from tests.worlds.simulated import work_of
from verifier.closing import close_round, collect_fees

FIRST = RoundIndex(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    with world_alone(tmp_path_factory.mktemp("state"), people=3, trainers=2) as running:
        yield running


def test_unrevealed_trainer_that_has_left_keeps_no_verifier_from_its_fee(world: GatewayWorld, tmp_path: Path) -> None:
    """It resigned, committed and revealed nothing; the verifier was away until its stake was released."""
    play, (honest, gone), verifier = world.start_task(), world.trainers, world.verifiers[0]
    play.open()
    gone.trainers.resign(play.task)
    play.commit()
    honest.trainers.reveal(play.task, work_of(play.domain, honest.account))
    pass_time(world, 3_700)
    world.sponsor.tasks.advance(play.task)
    play.draw()
    play.show_validation()
    honest.trainers.openings_published(play.task)
    leaves = play.leaves({gone.account: Verdict.UNREVEALED})
    play.attest(leaves)
    settlement, store = play.settlement(leaves), open_store(str(tmp_path / "store"))
    play.settle(settlement)
    posted = world.sponsor.posted_digest(play.task)
    store.put_proposal(posted, PostedLeaves(settlement=settlement, leaves=tuple(leaves)))
    play.finalize()
    view = world.sponsor.tasks.round(play.task, FIRST)
    assert view.outcome == Outcome.SETTLED
    pass_time(world, world.sponsor.terms.params(play.task).phases.slash + 1)
    gone.trainers.release(play.task, gone.account)
    told: list[str] = []
    close_round(verifier, store, play.task, FIRST, view, lambda event, _message, **_: told.append(event))
    assert collect_fees(verifier, play.task, [FIRST], lambda event, _message, **_: told.append(event)) == {}
    assert told == ["paid"]


def test_closing_a_round_asks_of_everybody_accepted_in_one_call(
    world: GatewayWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint is asked once for many trainers, not once for each."""
    play, verifier = world.start_task(), world.verifiers[0]
    play.play_to_opening()
    play.publish()
    leaves = play.leaves()
    play.attest(leaves)
    settlement = play.settlement(leaves)
    play.settle(settlement)
    play.finalize()
    view, kept = (
        world.sponsor.tasks.round(play.task, FIRST),
        SettlementProposal(settlement=settlement, leaves=tuple(leaves)),
    )
    monkeypatch.setattr("verifier.closing.charge_absences", lambda *_: None)
    calls: list[object] = []
    ask = verifier.connection._call
    monkeypatch.setattr(verifier.connection, "_call", lambda *about: calls.append(about) or ask(*about))
    with verifier.connection.reading_at(verifier.connection.head()):
        close_round(verifier, open_store(str(tmp_path)), play.task, FIRST, view, lambda *_, **__: None, kept=kept)
    assert len(calls) == 1 < len([leaf for leaf in leaves if leaf.payout])


def pass_time(world: GatewayWorld, seconds: int) -> None:
    world.node("evm_increaseTime", seconds)
    world.node("evm_mine")
