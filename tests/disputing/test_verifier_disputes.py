"""Verifiers' own code among liars: a lying quorum is voted down by agents, a score that is demanded is shown."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import numpy as np
import pytest

from deltaproof.api.lives import verifier_life
from deltaproof.api.living import Settings
from deltaproof.chain import Gateway, TransactionSender, load_account
from deltaproof.chain.abi.dispute_structs import Ballot, CasePhase
from deltaproof.chain.abi.enums import AttestationState, Phase, Role
from deltaproof.chain.local_node import free_port, start_node
from deltaproof.chain.participation import let_take, lock_stake
from deltaproof.chain.seeds import bring_seed
from deltaproof.disputing.jury import JuryDesk, vote_price
from deltaproof.errors import ArtifactMissing
from deltaproof.gateway.server import GatewayOptions, StoreServer
from deltaproof.protocol.outcome.settlement import SettlementProposal, Verdict, build_settlement
from deltaproof.protocol.types import ZERO_DIGEST, Digest32, RoundIndex, TaskId, TokenAmount
from deltaproof.store import open_store
from incentives.settling import payouts_of
from tests.disputing.conftest import Heard, moment
from tests.worlds.roles import FUND, RoleWorld, TaskDraft, build_world, fund_task
from tests.worlds.simulated import (
    Terms,
    attestation_of,
    bls_key,
    digest,
    leaves_of,
    quorum_proof,
    seal_attestation,
    seal_work,
    settlement_of,
    validation_sets,
    work_of,
)
from verifier.life import Verifier

FIRST = RoundIndex(1)
LAST_LEVEL = 3
"""At which everybody votes."""
DAY = 86_400
SEALED = 'visibility = "verifiers"\n[adapter]\nvisibility = "participants"'
"""Openings and adapters are for who takes part, and for jurors whom trainers let read."""


class Court:
    """A played round, a juror with more stake than the quorum, and a challenger."""

    def __init__(self, world: RoleWorld, juror: Verifier, challenger: Gateway) -> None:
        self.world, self.juror, self.challenger = world, juror, challenger

    def bring(self, bond: int) -> None:
        """Let the challenger have a bond."""
        token = self.challenger.token(self.challenger.registry.token())
        token.mint(self.challenger.account, TokenAmount(bond))
        lock_stake(self.challenger, Role.CHALLENGER, TokenAmount(bond))

    def decide(self, number: int) -> bool:
        """Play a case with agents alone; whether the settlement fell."""
        people = [self.juror, *self.world.verifiers]
        for _ in range(12):
            before = self.challenger.jury.case(number)
            for _ in range(2):  # a juror asks to read, trainers let it, and it votes
                for person in people:
                    person.disputes.vote(moment(person.gateway, self.world.task))
                for trainer in self.world.trainers:
                    trainer.readers.admit_jurors(trainer._transcript)
            case = self.challenger.jury.case(number)
            if case.phase is CasePhase.CLOSED:
                return case.overturned
            if case == before:  # everybody waits for the time to pass
                self.world.skip_time(DAY // 4 + 1)
        raise AssertionError(f"case {number} stays in {self.challenger.jury.case(number)}")


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    """The juror verifies another task, whose artifacts lie elsewhere: it finds this one's gateway by the chain. Its
    stake is in that task; what it keeps free is all that it can vote with."""
    folder, port = tmp_path_factory.mktemp("court"), free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    with start_node("anvil", accounts=12) as node:
        world = build_world(
            node, folder, rounds=2, honest=1, verifiers=3, window_seconds=3_600, data=SEALED, stores=url
        )
        deployment = world.gateway.deployment

        def gateway(number: int) -> Gateway:
            account = load_account(node.private_keys[number])
            sender = TransactionSender(world.gateway.connection, account, state_folder=folder / "state")
            world.senders.append(sender)
            return Gateway(world.gateway.connection, deployment, sender)

        own = gateway(10)
        own.token(own.registry.token()).mint(own.account, TokenAmount(10 * FUND))
        (folder / "other").mkdir()
        elsewhere = open_store(str(folder / "elsewhere"))
        task = fund_task(world.gateway, elsewhere, folder / "other", TaskDraft(rounds=1, model=folder / "model"))
        heard = Heard()
        juror = Verifier(own, elsewhere, task, folder / "juror", heard, stake=TokenAmount(FUND), poll_seconds=0.01)
        juror.join()
        assert "stay free, for fines" in heard.events[-1][1]
        world.skip_time(2 * DAY)  # what has not lain for a day has no vote
        with served(StoreServer(world.gateway, GatewayOptions(str(world.store_folder), folder / "gateway", "test"),
                                "127.0.0.1", port)):  # fmt: skip
            yield Court(world, juror, gateway(11))
        world.close()


@contextmanager
def served(server: StoreServer) -> Iterator[None]:
    ready = threading.Event()
    thread = threading.Thread(target=server.serve, args=(lambda _port: ready.set(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        server.stop()
        thread.join(60)


def test_lying_quorum_is_voted_down_by_jurors_who_did_the_work_and_the_honest_settlement_stands(court: Court) -> None:
    """Payouts and rules are all right; only the cheat's verdict is bought, which no contract can see."""
    world = court.world
    world.open_round()
    world.work()
    world.attest()
    wrong = bought(world)
    post(world, wrong)
    court.bring(court.challenger.jury.params().bond)
    number, _ = court.challenger.jury.open_case(world.task, court.challenger.posted_digest(world.task), ZERO_DIGEST)
    assert court.decide(number)
    assert world.gateway.tasks.phase(world.task).phase is Phase.SETTLE
    ballots = {court.challenger.jury.vote(number, 0, v.account).ballot for v in world.verifiers}
    assert ballots == {Ballot.NONE}, "who signed has no say"
    juror = court.juror
    assert court.challenger.jury.vote(number, 0, juror.account).ballot is not Ballot.NONE
    assert world.gateway.verifiers.enrolment(world.task, juror.account).index == 0, "it takes no part in the task"
    # In the next attempt the verifiers sign what they found, and that is no equivocation.
    world.post()
    settled = world.gateway.tasks.round(world.task, FIRST)
    assert (settled.attempts, settled.settlement != wrong.settlement) == (1, True)
    stakes = [v.gateway.verifiers.enrolment(world.task, v.account).stake for v in world.verifiers]
    for verifier in world.verifiers:
        verifier.disputes.mind_settlement(moment(verifier.gateway, world.task))
    assert [v.gateway.verifiers.enrolment(world.task, v.account).stake for v in world.verifiers] == stakes
    # Whoever asks again, about the right one, is refused and loses the bond.
    court.bring(court.challenger.jury.params().bond)
    number, _ = court.challenger.jury.open_case(world.task, court.challenger.posted_digest(world.task), ZERO_DIGEST)
    assert not court.decide(number)
    assert world.gateway.tasks.phase(world.task).phase is Phase.WINDOW
    assert_another_adapter_is_held_against_its_settlement(world)
    world.gateway.tasks.finalize(world.task)
    for verifier in world.verifiers:
        verifier.close_rounds(FIRST)


def assert_another_adapter_is_held_against_its_settlement(world: RoleWorld) -> None:
    """Leaves that are right, and a next adapter that nobody's work leads to, or that nobody has."""
    verifier = world.verifiers[0]
    examiner, own, honest = verifier.examiner, verifier.disputes._attested(FIRST), verifier.quorum.compose(FIRST)
    assert own is not None
    assert not examiner.contradicts(own, honest)
    vector = examiner.store.get_tensors(own.next_start_digest, examiner.scoring_bench.layout.size)
    poisoned = examiner.store.put_tensors(vector + np.float32(0.01))
    s = honest.settlement
    for adapter in (poisoned, digest("nobody has it")):
        settlement = build_settlement(honest.leaves, adapter, s.improvement_nanos, s.artifact_digest)
        named = SettlementProposal(settlement=settlement, leaves=honest.leaves)
        if adapter == poisoned:
            assert examiner.contradicts(own, named)
        else:
            with pytest.raises(ArtifactMissing):
                examiner.contradicts(own, named)


def test_demanded_score_is_shown_and_a_silent_verifier_loses_its_fee_only(court: Court) -> None:
    world = court.world
    round_ = world.open_round()
    world.work()
    world.attest()
    world.post()
    court.bring(2 * court.challenger.court.params().demand_bond)
    honest, silent, closer = world.verifiers
    subject = world.trainers[0].account
    for verifier in (honest, silent):
        court.challenger.court.demand_score(
            world.task, court.challenger.posted_digest(world.task), verifier.account, subject
        )
    before = honest.gateway.registry.credit_of(honest.account)
    honest.disputes.answer_demands(moment(honest.gateway, world.task))
    assert honest.gateway.registry.credit_of(honest.account) > before, "the answer is paid out of the bond"
    world.skip_time(DAY + 1)
    closer.disputes.answer_demands(moment(closer.gateway, world.task))
    world.gateway.tasks.finalize(world.task)
    fees = {v.account: v.gateway.fees.claimable(world.task, round_, v.account).fee for v in world.verifiers}
    assert fees[silent.account] == 0
    assert fees[honest.account] == fees[closer.account] > 0
    state = world.gateway.verifiers.attestation(world.task, round_, honest.account).state
    assert state is AttestationState.REVEALED


def bought(world: RoleWorld) -> SettlementProposal:
    """The honest settlement with the cheat accepted, paid by the rule."""
    verifier = world.verifiers[0]
    honest = verifier.quorum.compose(FIRST)
    assert {leaf.verdict for leaf in honest.leaves} == {Verdict.ACCEPTED, Verdict.REJECTED}
    leaves = tuple(
        leaf.model_copy(update={"verdict": Verdict.ACCEPTED, "score_nanos": 10**8})
        if leaf.verdict is Verdict.REJECTED
        else leaf
        for leaf in honest.leaves
    )
    s = honest.settlement
    amounts = payouts_of(verifier.spec.rewards, leaves, s.improvement_nanos, scored=True).amounts
    paid = tuple(
        leaf.model_copy(update={"payout": TokenAmount(amount)}) for leaf, amount in zip(leaves, amounts, strict=True)
    )
    settlement = build_settlement(paid, s.next_start_digest, s.improvement_nanos, s.artifact_digest)
    return SettlementProposal(settlement=settlement, leaves=paid)


def post(world: RoleWorld, proposal: SettlementProposal) -> None:
    for verifier in world.verifiers:
        digest = verifier.quorum.sign(FIRST, 0, proposal)
    proof = world.verifiers[0].quorum.proof(FIRST, digest, all_signers=True)
    assert proof is not None
    world.gateway.tasks.settle(world.task, proposal.settlement, proof)


def test_case_about_a_task_whose_spec_is_garbage_is_no_opinion_and_ends_no_verifier(court: Court) -> None:
    """Anybody makes a task, settles it alone, and brings a case about it before every juror of the deployment."""
    number = case_about_garbage(court)
    juror, heard = court.juror, Heard()
    assert juror.gateway.jury.seats(number, 0, juror.account), "the juror is asked"
    juror.disputes.report = juror.disputes.jury.report = juror.disputes.opinions.report = heard
    for _ in range(3):
        juror.disputes.vote(moment(juror.gateway, court.world.task))
        patience = juror.disputes.opinions._patience[juror.gateway.jury.case(number).settlement]
        patience._ready_at = 0.0
    (told,) = (message for event, message in heard.events if event == "delayed")
    assert "is not to be trusted" in told
    assert patience.failures == 3
    assert juror.gateway.jury.vote(number, 0, juror.account).ballot is Ballot.NONE


def test_juror_without_free_stake_votes_at_every_level(court: Court) -> None:
    number = case_about_garbage(court)
    juror = court.juror
    gateway, jury = juror.gateway, juror.disputes.jury
    free = TokenAmount(gateway.registry.stake_of(gateway.account, Role.VERIFIER).free)
    assert vote_price(gateway, number, 0) == 0
    gateway.registry.request_unbond(Role.VERIFIER, free)
    desk = JuryDesk(gateway, jury._salt, lambda _case: True, Heard())
    to_the_last_level(court, number, desk)
    for level in range(LAST_LEVEL):
        assert gateway.jury.vote(number, level, gateway.account).ballot is Ballot.OVERTURN
    assert 0 < 10 * vote_price(gateway, number, LAST_LEVEL) <= free, "what is kept free by default pays many fines"
    desk.mind_one(number, gateway.connection.timestamp())
    assert gateway.jury.vote(number, LAST_LEVEL, gateway.account).ballot is Ballot.SEALED
    assert gateway.registry.stake_of(gateway.account, Role.VERIFIER).free == 0, "a vote locks nothing"
    finished_only_when_votes_are_settled(court, number)


def to_the_last_level(court: Court, number: int, desk: JuryDesk) -> None:
    """The juror minds the case, and the challenger appeals each time."""
    gateway = court.challenger
    court.bring(gateway.jury.params().bond << (LAST_LEVEL + 1))
    while (case := gateway.jury.case(number)).phase is not CasePhase.SEAL or case.level != LAST_LEVEL:
        desk.mind_one(number, gateway.connection.timestamp())
        if gateway.jury.case(number) != case:
            continue
        if case.phase is CasePhase.DRAW:
            court.world.raw("evm_mine")
        elif case.phase is CasePhase.APPEAL:
            gateway.jury.appeal(number, case.level, ZERO_DIGEST)
        else:
            court.world.skip_time(max(1, case.deadline - gateway.connection.timestamp()))


def finished_only_when_votes_are_settled(court: Court, number: int) -> None:
    """The juror's own task is over; the case is another's. A verifier without a task goes on with what it sealed."""
    juror, heard = court.juror, Heard()
    gateway = juror.gateway
    settings = Settings("verifier", "", "", "", juror.home)
    without_task = verifier_life(settings, "")._between(gateway, heard)
    juror.disputes.jury.mind(gateway.connection.timestamp())
    over = dataclasses.replace(moment(gateway, juror.task_id), ended=True)
    for _ in range(8):
        waits = gateway.jury.vote(number, LAST_LEVEL, gateway.account).ballot is not Ballot.SETTLED
        assert juror.finished(over) is not waits
        if not waits:
            break
        before = gateway.jury.case(number)
        without_task(gateway.connection.timestamp())
        if gateway.jury.case(number) == before and not before.phase.over:
            court.world.skip_time(max(1, before.deadline - gateway.connection.timestamp()))
    assert {"shown", "decided"} <= set(heard.names())
    assert gateway.jury.vote(number, LAST_LEVEL, gateway.account).ballot is Ballot.SETTLED


def case_about_garbage(court: Court) -> int:
    """The challenger is sponsor, trainer and verifier of a task of its own; the seats are drawn."""
    gateway, garbage = court.challenger, b"nonsense"
    court.juror.store.put_blob(garbage)  # no store is announced, so the juror looks there
    token, me = gateway.registry.token(), gateway.account
    terms = Terms(budget=100, trainer_stake=10, commit_bond=1, verifier_stake=10, rounds=1, fee_bps=0, base_bps=500,
                  window_seconds=3_600)  # fmt: skip
    params = dataclasses.replace(terms.params(token), spec_hash=Digest32(sha256(garbage).digest()))
    gateway.token(token).mint(me, TokenAmount(10**24))
    let_take(gateway, token, gateway.vault.address, TokenAmount(1_000))
    sets, commitments = validation_sets(2)
    task, _ = gateway.terms.create_task(params, commitments, TokenAmount(1_000))
    for role in (Role.TRAINER, Role.VERIFIER):
        lock_stake(gateway, role, TokenAmount(10))
    key = bls_key(me)
    if gateway.registry.key_of(me) is None:
        possession = key.prove_possession(gateway.connection.chain_id, gateway.registry.address, me)
        gateway.registry.register_key(key.public_key(), possession)
    gateway.trainers.enrol(task, digest("rows"), 10)
    gateway.verifiers.enrol(task, TokenAmount(10))
    gateway.tasks.open_round(task)
    move_to(court, task, Phase.COMMIT)
    domain, leaves = gateway.domain(task, FIRST), leaves_of([me], terms.payouts(10**9))
    gateway.trainers.commit(task, seal_work(domain, me))
    gateway.trainers.reveal(task, work_of(domain, me))
    move_to(court, task, Phase.OPENING)
    gateway.tasks.reveal_validation(task, *sets[0])
    gateway.trainers.openings_published(task)
    gateway.verifiers.commit_attestation(task, seal_attestation(domain, leaves, me))
    gateway.verifiers.reveal_attestation(task, **attestation_of(domain, leaves, me))
    settlement = settlement_of(domain, leaves)
    gateway.tasks.settle(task, settlement, quorum_proof(domain, settlement, {me: key}, [me]))
    court.bring(gateway.jury.params().bond)
    number, _ = gateway.jury.open_case(task, gateway.posted_digest(task), ZERO_DIGEST)
    while gateway.jury.case(number).phase is CasePhase.DRAW:
        if bring_seed(gateway, gateway.jury.level(number, 0).seed_request, gateway.connection.timestamp()):
            gateway.jury.draw_seats(number)
        court.world.raw("evm_mine")
    return number


def move_to(court: Court, task: TaskId, phase: Phase) -> None:
    tasks, connection = court.challenger.tasks, court.challenger.connection
    while (now := tasks.phase(task).phase) is not phase:
        if now in (Phase.DRAW, Phase.CHALLENGE):
            while not bring_seed(court.challenger, tasks.seed_request(task), connection.timestamp()):
                court.world.skip_time(1)
        tasks.advance(task)
