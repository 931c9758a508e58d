"""A whole round through the gateway, on the real contracts: the honest are paid, the cheat is slashed."""

from __future__ import annotations

import pytest

from deltaproof.chain import Gateway, SenderPolicy, TransactionSender
from deltaproof.chain.abi.enums import AttestationState, Outcome, Phase
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.events.participants import Committed, Revealed, TrainerSlashed
from deltaproof.chain.events.rounds import Claimed, PhaseStarted, RoundEnded
from deltaproof.errors import ContractRevert
from deltaproof.protocol.outcome.settlement import SettlementLeaf, Verdict, leaves_tree
from deltaproof.protocol.types import Address, RoundIndex
from tests.chain.node_calls import funded_account
from tests.worlds.gateways import GatewayWorld, Play
from tests.worlds.simulated import attestation_of, digest, seal_work, work_of

PHASES = [
    Phase.DRAW,
    Phase.COMMIT,
    Phase.REVEAL,
    Phase.CHALLENGE,
    Phase.OPENING,
    Phase.ATTEST_COMMIT,
    Phase.ATTEST_REVEAL,
    Phase.SETTLE,
    Phase.WINDOW,
]
FIRST = RoundIndex(1)


def test_whole_round_pays_the_honest_and_slashes_the_cheat(world: GatewayWorld) -> None:
    play = world.start_task()
    check_enrolments(play)
    first_block = world.connection.block_number()
    cheat = world.trainers[1].account
    play.open()
    play.commit()
    check_commitments(play)
    play.reveal()
    play.draw()
    play.publish()
    leaves = play.leaves({cheat: Verdict.REJECTED})
    assert sum(leaf.payout for leaf in leaves) == world.terms.budget
    play.attest(leaves)
    check_attestation(play, leaves)
    settle_by_quorum(play, leaves)
    claim_everything(play, leaves)
    slash = next(i for i, leaf in enumerate(leaves) if leaf.trainer == cheat)
    world.sponsor.trainers.slash(play.task, FIRST, slash, leaves[slash], leaves_tree(leaves).proof(slash))
    assert world.sponsor.trainers.enrolment(play.task, cheat).stake == world.terms.trainer_stake // 2
    check_events(play, first_block, cheat)


def check_enrolments(play: Play) -> None:
    world = play.world
    assert list(world.sponsor.trainers.enrolments(play.task)) == [trainer.account for trainer in world.trainers]
    assert world.sponsor.verifiers.enrolments(play.task)[world.verifiers[0].account].stake == world.terms.verifier_stake


def check_commitments(play: Play) -> None:
    world = play.world
    assert world.sponsor.tasks.round(play.task, FIRST).order_seed != bytes(32)
    for trainer in world.trainers:
        work = work_of(play.domain, trainer.account)
        sealed = seal_work(play.domain, trainer.account)
        assert sealed == trainer.trainers.commitment_hash(play.task, FIRST, trainer.account, work)


def check_attestation(play: Play, leaves: list[SettlementLeaf]) -> None:
    verifier = play.world.verifiers[0].account
    state = play.world.sponsor.verifiers.attestation(play.task, FIRST, verifier)
    expected = attestation_of(play.domain, leaves, verifier)["verdicts_digest"]
    assert (state.state, state.digest) == (AttestationState.REVEALED, expected)


def settle_by_quorum(play: Play, leaves: list[SettlementLeaf]) -> None:
    tasks, settlement = play.world.sponsor.tasks, play.settlement(leaves)
    first, second, third = play.world.keys
    with pytest.raises(ContractRevert) as too_few:
        play.settle(settlement, [second])
    assert too_few.value.name == "QuorumNotReached"
    play.settle(settlement, [first, third])
    play.finalize()
    ended = tasks.round(play.task, FIRST)
    assert (ended.outcome, ended.settlement) == (Outcome.SETTLED, settlement)
    assert tasks.state(play.task).adapter_digest == settlement.next_start_digest


def claim_everything(play: Play, leaves: list[SettlementLeaf]) -> None:
    sponsor = play.world.sponsor
    vault, token = sponsor.vault, sponsor.token(sponsor.registry.token())
    for i, leaf in enumerate(leaves):
        if not leaf.payout:
            continue
        claim = Claim(play.task, FIRST, i, len(leaves), leaf, leaves_tree(leaves).proof(i))
        before = token.balance_of(leaf.trainer)
        vault.claim(claim)
        assert token.balance_of(leaf.trainer) - before == leaf.payout
        with pytest.raises(ContractRevert) as again:
            vault.claim(claim)
        assert again.value.name == "AlreadyClaimed"
    for verifier in play.world.verifiers:
        assert verifier.fees.claimable(play.task, FIRST, verifier.account).fee == play.world.terms.fee // 3
        verifier.fees.claim(play.task, [FIRST], verifier.account)
    assert (vault.pot(play.task, FIRST).remaining, vault.pot(play.task, FIRST).fees) == (0, 0)


def check_events(play: Play, first_block: int, cheat: Address) -> None:
    world = play.world
    trainers = [trainer.account for trainer in world.trainers]
    deltas = [work_of(world.sponsor.domain(play.task, FIRST), trainer).delta_digest for trainer in trainers]
    events = [entry.event for entry in world.sponsor.events.read(first_block, world.connection.block_number())]
    assert [event.trainer for event in events if isinstance(event, Committed)] == trainers
    assert [event.delta_digest for event in events if isinstance(event, Revealed)] == deltas
    assert sum(event.amount for event in events if isinstance(event, Claimed)) == world.terms.budget
    (slashed,) = [event for event in events if isinstance(event, TrainerSlashed)]
    assert (slashed.trainer, slashed.amount) == (cheat, world.terms.trainer_stake // 2)
    (end,) = [event for event in events if isinstance(event, RoundEnded)]
    assert (end.outcome, end.next_start_digest) == (Outcome.SETTLED, digest("adapter after", play.task, FIRST))
    assert [event.phase for event in events if isinstance(event, PhaseStarted)] == PHASES


def test_copied_commitment_cannot_be_revealed_by_the_copier(world: GatewayWorld) -> None:
    play = world.start_task()
    play.open()
    owner, copier = world.trainers[:2]
    work, sealed = work_of(play.domain, owner.account), seal_work(play.domain, owner.account)
    for trainer in world.trainers:
        trainer.trainers.commit(play.task, sealed)
    owner.trainers.reveal(play.task, work)
    with pytest.raises(ContractRevert) as caught:
        copier.trainers.reveal(play.task, work)
    assert caught.value.name == "CommitmentMismatch"
    assert caught.value.arguments["committed"] == sealed


def test_transaction_that_does_more_than_was_estimated_is_sent_again(
    world: GatewayWorld, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a public chain, where the latest block is what an estimate can know.
    monkeypatch.setattr("deltaproof.chain.rpc.sender.LOCAL_CHAINS", frozenset())
    play = world.start_task()
    world.sponsor.tasks.open_round(play.task)
    tight = SenderPolicy(gas_margin=1.0, gas_room=0)
    account, folder = funded_account(world.connection), tmp_path_factory.mktemp("tight")
    with TransactionSender(world.connection, account, policy=tight, state_folder=folder) as sender:
        gateway = Gateway(world.connection, world.deployment, sender)
        world.node("evm_mine")  # estimated in a block that does not know the seed, mined in one that does
        gateway.tasks.advance(play.task)
    assert play.phase is Phase.COMMIT
    assert world.connection.web3.eth.get_transaction_count(account.address) == 2
