"""A whole round through the gateway, on the real contracts: the honest are paid, the cheat is slashed."""

from __future__ import annotations

import pytest

from deltaproof.chain import Gateway, SenderPolicy, TransactionSender
from deltaproof.chain.abi.enums import AttestationState, Outcome, Phase
from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.contracts.vault import Claim
from deltaproof.chain.events.participants import Committed, Revealed, TrainerSlashed
from deltaproof.chain.events.rounds import Claimed, PhaseStarted, RoundEnded
from deltaproof.errors import ContractRevert
from deltaproof.protocol.commit.commitments import attestation_hash, commitment_hash
from deltaproof.protocol.outcome.settlement import (
    Settlement,
    SettlementLeaf,
    Verdict,
    build_settlement,
    leaves_tree,
    scores_tree,
    verdicts_digest,
)
from deltaproof.protocol.types import Address, Digest32, TaskId, TokenAmount, address_bytes
from tests.chain.chain_world import BUDGET, ROUND, STAKE, TOKENS, World, create_task, digest, draw, settle
from tests.chain.node_calls import funded_account, rpc

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
WORK = [RevealData(digest("delta", i), digest("root", i), digest("salt", i)) for i in range(3)]


def test_whole_round_pays_the_honest_and_slashes_the_cheat(world: World) -> None:
    task_id = create_task(world)
    first_block = world.connection.block_number()
    enrol_everybody(world, task_id)
    world.sponsor.tasks.open_round(task_id)
    assert world.sponsor.tasks.phase(task_id).phase is Phase.DRAW
    draw(world, task_id)
    commit_and_reveal(world, task_id)
    draw(world, task_id)
    for trainer in world.trainers:
        trainer.trainers.openings_published(task_id)
    work = world.sponsor.trainers.work(task_id, ROUND, world.trainers[0].account)
    assert (work.committed, work.revealed, work.opened, work.slashed) == (True, True, True, False)
    world.sponsor.tasks.reveal_validation(task_id, digest("validation", 0), digest("salt", 0))
    leaves, cheat = judged(world)
    attest(world, task_id, leaves)
    settlement = build_settlement(leaves, digest("next"), 5_000_000, digest("evidence"))
    settle_by_quorum(world, task_id, settlement)
    claim_everything(world, task_id, leaves)
    world.sponsor.trainers.slash(task_id, ROUND, 1, leaves[1], leaves_tree(leaves).proof(1))
    assert world.sponsor.trainers.enrolment(task_id, cheat).stake == STAKE // 2
    check_events(world, first_block, cheat)


def enrol_everybody(world: World, task_id: TaskId) -> None:
    for i, trainer in enumerate(world.trainers):
        trainer.trainers.enrol(task_id, digest("data", i), 100)
    for verifier in world.verifiers:
        verifier.verifiers.enrol(task_id, STAKE)
    assert list(world.sponsor.trainers.enrolments(task_id)) == [trainer.account for trainer in world.trainers]
    assert world.sponsor.verifiers.enrolments(task_id)[world.verifiers[0].account].stake == STAKE


def commit_and_reveal(world: World, task_id: TaskId) -> None:
    domain = world.sponsor.domain(task_id, ROUND)
    assert world.sponsor.tasks.round(task_id, ROUND).order_seed != bytes(32)
    for trainer, data in zip(world.trainers, WORK, strict=True):
        sealed = commitment_hash(domain, trainer.account, data.delta_digest, data.transcript_root, data.salt)
        assert sealed == trainer.trainers.commitment_hash(task_id, ROUND, trainer.account, data)
        trainer.trainers.commit(task_id, sealed)
    for trainer, data in zip(world.trainers, WORK, strict=True):
        trainer.trainers.reveal(task_id, data)


def judged(world: World) -> tuple[list[SettlementLeaf], Address]:
    """Leaves in which the second trainer by address is the cheat, and its address."""
    order = sorted((trainer.account for trainer in world.trainers), key=address_bytes)
    paid = (22_500_000 * 10**12, 0, 67_500_000 * 10**12)
    leaves = [
        SettlementLeaf(
            trainer=trainer,
            verdict=Verdict.ACCEPTED if payout else Verdict.REJECTED,
            score_nanos=1_000_000 * (i + 1) if payout else 0,
            payout=TokenAmount(payout),
        )
        for i, (trainer, payout) in enumerate(zip(order, paid, strict=True))
    ]
    assert sum(leaf.payout for leaf in leaves) == BUDGET
    return leaves, order[1]


def attest(world: World, task_id: TaskId, leaves: list[SettlementLeaf]) -> None:
    fields: dict[str, Digest32] = {
        "verdicts_digest": verdicts_digest(leaves),
        "scores_root": scores_tree(leaves).root,
        "artifact_digest": digest("attestation"),
        "salt": digest("attestation salt"),
    }
    domain = world.sponsor.domain(task_id, ROUND)
    for verifier in world.verifiers:
        verifier.verifiers.commit_attestation(task_id, attestation_hash(domain, verifier.account, **fields))
    for verifier in world.verifiers:
        verifier.verifiers.reveal_attestation(task_id, **fields)
    state = world.sponsor.verifiers.attestation(task_id, ROUND, world.verifiers[0].account)
    assert (state.state, state.digest) == (AttestationState.REVEALED, fields["verdicts_digest"])


def settle_by_quorum(world: World, task_id: TaskId, settlement: Settlement) -> None:
    tasks = world.sponsor.tasks
    with pytest.raises(ContractRevert) as too_few:
        settle(world, task_id, settlement, signers=[1])
    assert too_few.value.name == "QuorumNotReached"
    settle(world, task_id, settlement, signers=[0, 2])
    rpc(world.connection, "evm_increaseTime", 5)
    rpc(world.connection, "evm_mine")
    tasks.finalize(task_id)
    ended = tasks.round(task_id, ROUND)
    assert (ended.outcome, ended.settlement) == (Outcome.SETTLED, settlement)
    assert tasks.state(task_id).adapter_digest == digest("next")


def claim_everything(world: World, task_id: TaskId, leaves: list[SettlementLeaf]) -> None:
    vault, token = world.sponsor.vault, world.sponsor.token(world.sponsor.registry.token())
    for i, leaf in enumerate(leaves):
        if not leaf.payout:
            continue
        claim = Claim(task_id, ROUND, i, len(leaves), leaf, leaves_tree(leaves).proof(i))
        before = token.balance_of(leaf.trainer)
        vault.claim(claim)
        assert token.balance_of(leaf.trainer) - before == leaf.payout
        with pytest.raises(ContractRevert) as again:
            vault.claim(claim)
        assert again.value.name == "AlreadyClaimed"
    for verifier in world.verifiers:
        assert verifier.fees.claimable(task_id, ROUND, verifier.account).fee == 3 * TOKENS
        verifier.fees.claim(task_id, [ROUND], verifier.account)
    assert (vault.pot(task_id, ROUND).remaining, vault.pot(task_id, ROUND).fees) == (0, 0)


def check_events(world: World, first_block: int, cheat: Address) -> None:
    events = [entry.event for entry in world.sponsor.events.read(first_block, world.connection.block_number())]
    assert [event.trainer for event in events if isinstance(event, Committed)] == [t.account for t in world.trainers]
    assert [event.delta_digest for event in events if isinstance(event, Revealed)] == [d.delta_digest for d in WORK]
    assert sum(event.amount for event in events if isinstance(event, Claimed)) == BUDGET
    (slashed,) = [event for event in events if isinstance(event, TrainerSlashed)]
    assert (slashed.trainer, slashed.amount) == (cheat, STAKE // 2)
    (end,) = [event for event in events if isinstance(event, RoundEnded)]
    assert (end.outcome, end.next_start_digest) == (Outcome.SETTLED, digest("next"))
    assert [event.phase for event in events if isinstance(event, PhaseStarted)] == PHASES


def test_copied_commitment_cannot_be_revealed_by_the_copier(world: World) -> None:
    task_id = create_task(world)
    enrol_everybody(world, task_id)
    world.sponsor.tasks.open_round(task_id)
    draw(world, task_id)
    owner, copier = world.trainers[:2]
    domain = world.sponsor.domain(task_id, ROUND)
    sealed = commitment_hash(domain, owner.account, WORK[0].delta_digest, WORK[0].transcript_root, WORK[0].salt)
    for trainer in world.trainers:
        trainer.trainers.commit(task_id, sealed)
    owner.trainers.reveal(task_id, WORK[0])
    with pytest.raises(ContractRevert) as caught:
        copier.trainers.reveal(task_id, WORK[0])
    assert caught.value.name == "CommitmentMismatch"
    assert caught.value.arguments["committed"] == sealed


def test_transaction_that_does_more_than_was_estimated_is_sent_again(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    task_id = create_task(world)
    enrol_everybody(world, task_id)
    world.sponsor.tasks.open_round(task_id)
    tight = SenderPolicy(gas_margin=1.0, gas_room=0)
    account, folder = funded_account(world.connection), tmp_path_factory.mktemp("tight")
    with TransactionSender(world.connection, account, policy=tight, state_folder=folder) as sender:
        gateway = Gateway(world.connection, world.deployment, sender)
        rpc(world.connection, "evm_mine")  # estimated in a block that does not know the seed, mined in one that does
        gateway.tasks.advance(task_id)
    assert world.sponsor.tasks.phase(task_id).phase is Phase.COMMIT
    assert world.connection.web3.eth.get_transaction_count(account.address) == 2
