"""Claims of settled rounds: each payment once, to whom it is due, whoever pays the gas; many in one transaction."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from deltaproof.chain import Gateway
from deltaproof.chain.claims import Payment, claim_all, claim_fees, claim_rewards, reward_due
from deltaproof.chain.contracts.vault import Claim
from deltaproof.protocol.outcome.settlement import SettlementLeaf, SettlementProposal, Verdict, leaves_tree
from deltaproof.protocol.types import Address, RoundIndex
from deltaproof.store import ArtifactStore, open_store
from tests.worlds.gateways import GatewayWorld, Play

FIRST, SECOND = RoundIndex(1), RoundIndex(2)
REFUSES = "0x60006000fd"
"""Code of a token that takes no call."""


@dataclasses.dataclass
class Played:
    """Two settled rounds, and the store with their leaves. The second trainer was rejected in the first."""

    play: Play
    leaves: dict[RoundIndex, list[SettlementLeaf]]
    store: ArtifactStore

    def claims(self, trainer: Address) -> list[Claim]:
        """What the trainer may claim now."""
        gateway, task = self.play.world.sponsor, self.play.task
        due = (reward_due(gateway, task, round_, leaves, trainer) for round_, leaves in self.leaves.items())
        return [claim for claim in due if claim is not None]

    def balance(self, account: Address) -> int:
        gateway = self.play.world.sponsor
        return gateway.token(gateway.registry.token()).balance_of(account)


@pytest.fixture(scope="module")
def played(world: GatewayWorld, tmp_path_factory: pytest.TempPathFactory) -> Played:
    play, store = world.start_task(), open_store(str(tmp_path_factory.mktemp("claims")))
    leaves = {}
    for round_ in (FIRST, SECOND):
        leaves[round_] = play.play_round({world.trainers[1].account: Verdict.REJECTED} if round_ == FIRST else {})
        settlement = world.sponsor.tasks.round(play.task, round_).settlement
        proposal = SettlementProposal(settlement=settlement, leaves=tuple(leaves[round_]))
        store.put_proposal(world.sponsor.posted_digest(play.task, round_), proposal)
    return Played(play, leaves, store)


def sent(gateway: Gateway) -> int:
    """Transactions of its account so far."""
    return int(gateway.connection.web3.eth.get_transaction_count(gateway.account))  # type: ignore[arg-type]


def as_court(world: GatewayWorld, function: str, *arguments: object) -> None:
    """What a demand on a trainer's work, and its answer, do to the claim."""
    vault, court = world.sponsor.vault, world.sponsor.court.address
    _, data = vault.view(function, *arguments)
    world.node("anvil_setBalance", court, hex(10**18))
    world.node("anvil_impersonateAccount", court)
    world.node("eth_sendTransaction", {"from": court, "to": vault.address, "data": "0x" + data.hex()})
    world.node("anvil_stopImpersonatingAccount", court)


def test_reward_that_is_held_in_a_list_is_not_taken_for_paid_and_comes_later(played: Played) -> None:
    """Held after the list was made: the contract leaves it out, and a trainer that took it for paid would lose it."""
    world, task = played.play.world, played.play.task
    paid = world.trainers[0]
    claims, before, transactions = played.claims(paid.account), played.balance(paid.account), sent(paid)
    assert [claim.round for claim in claims] == [FIRST, SECOND]
    as_court(world, "hold", task, FIRST, paid.account)
    assert claim_rewards(paid, claims).done == claims[1:]
    assert sent(paid) - transactions == 1
    assert played.claims(paid.account) == [], "nothing is due while it is held"
    as_court(world, "resume", task, FIRST, paid.account)
    assert played.claims(paid.account) == claims[:1]
    assert claim_rewards(paid, claims).done == claims[:1], "what was paid before is left out"
    assert played.balance(paid.account) - before == sum(claim.leaf.payout for claim in claims) > 0
    again = claim_rewards(paid, claims)
    assert (again.done, again.refused) == ([], [])


def test_rejected_trainer_and_strangers_have_no_reward(played: Played) -> None:
    world = played.play.world
    assert [claim.round for claim in played.claims(world.trainers[1].account)] == [SECOND]
    assert played.claims(world.sponsor.account) == []


def test_claim_that_is_refused_keeps_no_other_back(played: Played) -> None:
    rejected = played.play.world.trainers[1]
    (good,) = played.claims(rejected.account)
    index, leaf = next((i, leaf) for i, leaf in enumerate(played.leaves[FIRST]) if leaf.trainer == rejected.account)
    greedy = dataclasses.replace(
        good, round=FIRST, index=index, leaf=leaf.model_copy(update={"payout": good.leaf.payout}),
        proof=leaves_tree(played.leaves[FIRST]).proof(index),
    )  # fmt: skip
    tried = claim_rewards(rejected, [greedy, good])
    assert tried.done == [good]
    assert [(claim, revert.name) for claim, revert in tried.refused] == [(greedy, "InvalidProof")]


def test_everything_of_somebody_else_is_claimed_to_them(played: Played) -> None:
    world, task = played.play.world, played.play.task
    stranger, trainer, verifier = world.sponsor, world.trainers[2].account, world.verifiers[1].account
    rewards = [Payment(task, claim.round, "reward", claim.leaf.payout) for claim in played.claims(trainer)]
    fees = [Payment(task, round_, "fee", world.terms.fee // 3) for round_ in (FIRST, SECOND)]
    before, transactions = [played.balance(each) for each in (trainer, verifier, stranger.account)], sent(stranger)
    assert claim_all(stranger, lambda _: played.store, [task], trainer).done == rewards
    assert claim_all(stranger, lambda _: played.store, [task], verifier).done == fees
    assert sent(stranger) - transactions == 2
    assert claim_all(stranger, lambda _: played.store, [task], trainer).done == []
    after = [played.balance(each) for each in (trainer, verifier, stranger.account)]
    due = [sum(payment.amount for payment in payments) for payments in (rewards, fees, [])]
    assert [a - b for a, b in zip(after, before, strict=True)] == due


def test_share_of_a_slash_is_paid_where_the_token_refuses_the_fee(played: Played) -> None:
    world, task = played.play.world, played.play.task
    verifier, leaves = world.verifiers[0], played.leaves[FIRST]
    index, leaf = next((i, leaf) for i, leaf in enumerate(leaves) if leaf.verdict is Verdict.REJECTED)
    world.sponsor.trainers.slash(task, FIRST, index, leaf, leaves_tree(leaves).proof(index))
    share = verifier.fees.claimable(task, FIRST, verifier.account).slash_reward
    assert share > 0
    token = verifier.registry.token()
    code, credit = world.connection.web3.eth.get_code(token), verifier.registry.credit_of(verifier.account)  # type: ignore[arg-type]
    world.node("anvil_setCode", token, REFUSES)
    try:
        tried = claim_all(verifier, lambda _: played.store, [task], verifier.account)
    finally:
        world.node("anvil_setCode", token, "0x" + code.hex())
    assert tried.done == [Payment(task, FIRST, "slash reward", share)]
    assert [payment.round for payment, _ in tried.refused] == [FIRST, SECOND]
    assert verifier.registry.credit_of(verifier.account) - credit == share
    later, transactions = claim_fees(verifier, task, [FIRST, SECOND], verifier.account), sent(verifier)
    assert [(round_, fees.fee, fees.slash_reward) for round_, fees in later.done] == [
        (FIRST, world.terms.fee // 3, 0), (SECOND, world.terms.fee // 3, 0),
    ]  # fmt: skip
    assert claim_fees(verifier, task, [FIRST, SECOND], verifier.account).done == []
    assert sent(verifier) == transactions


def test_reward_whose_leaves_nobody_published_stays_in_the_vault(played: Played, tmp_path: Path) -> None:
    trainer = played.play.world.trainers[0]
    assert claim_all(trainer, lambda _: open_store(str(tmp_path)), [played.play.task], trainer.account).done == []
