"""Claims of a settled round: each payment once, to whom it is due, whoever pays the gas."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltaproof.chain.claims import Payment, claim_all, claim_fees, claim_reward
from deltaproof.protocol.outcome.settlement import SettlementLeaf, SettlementProposal, Verdict
from deltaproof.protocol.types import RoundIndex
from deltaproof.store import ArtifactStore, open_store
from tests.worlds.gateways import GatewayWorld, Play

FIRST = RoundIndex(1)
Played = tuple[Play, list[SettlementLeaf], ArtifactStore]


@pytest.fixture(scope="module")
def played(world: GatewayWorld, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A settled round whose second trainer was rejected, and the store with its leaves."""
    play = world.start_task()
    leaves = play.play_round({world.trainers[1].account: Verdict.REJECTED})
    store = open_store(str(tmp_path_factory.mktemp("claims")))
    settlement = world.sponsor.tasks.round(play.task, FIRST).settlement
    proposal = SettlementProposal(settlement=settlement, leaves=tuple(leaves))
    store.put_proposal(play.task, FIRST, world.verifiers[2].account, proposal)
    return play, leaves, store


def test_reward_is_claimed_once_and_a_rejected_trainer_has_none(played: Played) -> None:
    play, leaves, _ = played
    paid, rejected, _ = play.world.trainers
    (due,) = [leaf.payout for leaf in leaves if leaf.trainer == paid.account]
    token = paid.token(paid.registry.token())
    before = token.balance_of(paid.account)
    assert due > 0
    assert claim_reward(paid, play.task, FIRST, leaves, paid.account) == due
    assert claim_reward(paid, play.task, FIRST, leaves, paid.account) == 0
    assert token.balance_of(paid.account) - before == due
    assert claim_reward(rejected, play.task, FIRST, leaves, rejected.account) == 0
    assert claim_reward(paid, play.task, FIRST, leaves, play.world.sponsor.account) == 0


def test_fees_are_claimed_once(played: Played) -> None:
    play, _, _ = played
    verifier = play.world.verifiers[0]
    claimed = claim_fees(verifier, play.task, FIRST, verifier.account)
    assert claimed is not None
    assert (claimed.fee, claimed.slash_reward) == (play.world.terms.fee // 3, 0)
    assert claim_fees(verifier, play.task, FIRST, verifier.account) is None


def test_everything_of_somebody_else_is_claimed_to_them(played: Played) -> None:
    play, leaves, store = played
    stranger, trainer, verifier = play.world.sponsor, play.world.trainers[2], play.world.verifiers[1]
    (due,) = [leaf.payout for leaf in leaves if leaf.trainer == trainer.account]
    fee, token = play.world.terms.fee // 3, trainer.token(trainer.registry.token())
    before = [token.balance_of(each.account) for each in (trainer, verifier, stranger)]
    assert claim_all(stranger, store, play.task, trainer.account) == [Payment(FIRST, "reward", due)]
    assert claim_all(stranger, store, play.task, verifier.account) == [Payment(FIRST, "fee", fee)]
    assert claim_all(stranger, store, play.task, trainer.account) == []
    after = [token.balance_of(each.account) for each in (trainer, verifier, stranger)]
    assert [a - b for a, b in zip(after, before, strict=True)] == [due, fee, 0]


def test_reward_whose_leaves_nobody_published_stays_in_the_vault(played: Played, tmp_path: Path) -> None:
    play, _, _ = played
    trainer = play.world.trainers[0]
    assert claim_all(trainer, open_store(str(tmp_path)), play.task, trainer.account) == []
