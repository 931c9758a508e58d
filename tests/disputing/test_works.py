"""A trainer whose published openings show a fault: found without training anything, and proved on chain."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import ChunkOpening, Work
from deltaproof.chain.abi.enums import Component, Fault, Role
from deltaproof.chain.abi.structs import CommitmentRef, RevealData
from deltaproof.chain.claims import claim_credit
from deltaproof.chain.participation import lock_stake
from deltaproof.disputing.committed import committed_work
from deltaproof.disputing.watching import Watcher
from deltaproof.disputing.works import TrainerFault, find_work_fault
from deltaproof.protocol.evidence.state import StateRoots, Vector, component_root, open_value
from deltaproof.protocol.evidence.transcript import StepOpening, StepRecord, transcript_root
from deltaproof.protocol.types import Digest32
from deltaproof.protocol.wire import merkle
from deltaproof.store import ArtifactStore
from deltaproof.tuning.training.optimizers import constants_of, constants_root, update
from tests.disputing.conftest import FIRST
from tests.worlds.gateways import GatewayWorld, Play
from tests.worlds.simulated import digest, seal_work, validation_sets, work_of

SIZE, STEPS = 600, 4
SLOTS = ("theta", "m", "v")
START = np.linspace(-1.0, 1.0, SIZE, dtype=np.float32)


def table() -> NDArray[np.float32]:
    rows = np.zeros((STEPS, 16), dtype=np.float32)
    rows[:, :11] = (0.01, 0.9, 0.1, 0.999, 0.001, 10.0, 1000.0, 1e-8, 0.0, 1.0, 0.0)
    return rows


@dataclasses.dataclass
class Trained:
    """Four steps of Adam on gradients that nobody computed."""

    states: list[dict[str, Vector]]
    gradients: list[Vector]
    records: list[StepRecord]

    @classmethod
    def of(cls, start: Vector, warm: float = 0.0) -> Trained:
        zeros = np.zeros(SIZE, dtype=np.float32)
        first = zeros.copy()
        first[7] = warm
        states, gradients = [{"theta": start, "m": first, "v": zeros}], []
        for step in range(STEPS):
            gradient = np.sin(np.arange(SIZE, dtype=np.float32) + step).astype(np.float32)
            state = {slot: torch.from_numpy(values.copy()) for slot, values in states[-1].items()}
            after = update(2, constants_of(table(), step), state, torch.from_numpy(gradient), 1.0)
            states.append({slot: values.numpy() for slot, values in after.items()})
            gradients.append(gradient)
        trained = cls(states, gradients, [])
        trained.record()
        return trained

    def record(self) -> None:
        self.records = [
            StepRecord(t, roots_of(self.states[t]).root(), component_root(g), digest("rows", t), 1.0, 0.5)
            for t, g in enumerate(self.gradients)
        ]
        self.records.append(StepRecord(STEPS, roots_of(self.states[STEPS]).root()))

    @property
    def root(self) -> Digest32:
        return transcript_root([record.digest for record in self.records])

    @property
    def delta(self) -> Digest32:
        return component_root(self.states[STEPS]["theta"])

    def opening(self, step: int) -> StepOpening:
        leaves = [record.digest for record in self.records]
        before, after = (tuple(merkle.proof(leaves, i)) for i in (step, step + 1))
        state, gradient = self.states[step], self.gradients[step]
        return StepOpening(self.records[step], self.records[step + 1], before, after, state, gradient, ())


def roots_of(state: dict[str, Vector]) -> StateRoots:
    return StateRoots(**{slot: component_root(state[slot]) for slot in SLOTS})


def nudged(values: Vector) -> Vector:
    changed = values.copy()
    changed[300] = np.nextafter(changed[300], np.float32(9))
    return changed


def wrong_start() -> tuple[Trained, Digest32]:
    trained = Trained.of(nudged(START))
    return trained, trained.delta


def warm_start() -> tuple[Trained, Digest32]:
    trained = Trained.of(START, warm=0.25)
    return trained, trained.delta


def wrong_middle() -> tuple[Trained, Digest32]:
    """One bit of step 1, seen because step 2 is opened as well; the rest goes on from it."""
    trained = Trained.of(START)
    trained.states[2]["theta"] = nudged(trained.states[2]["theta"])
    trained.record()
    return trained, trained.delta


def wrong_end() -> tuple[Trained, Digest32]:
    """One bit of the last step, seen because the adapter after it is what was revealed."""
    trained = Trained.of(START)
    trained.states[STEPS]["theta"] = nudged(trained.states[STEPS]["theta"])
    trained.record()
    return trained, trained.delta


def wrong_delta() -> tuple[Trained, Digest32]:
    return Trained.of(START), component_root(nudged(START))


def malformed() -> tuple[Trained, Digest32]:
    trained = Trained.of(START)
    trained.records[STEPS] = dataclasses.replace(trained.records[STEPS], grad_root=digest("gradient"))
    return trained, trained.delta


@pytest.fixture
def opened(world: GatewayWorld) -> Play:
    """A task that starts from `START` by the rule of `table`, in its first commit phase."""
    sponsor, terms = world.sponsor, world.terms
    token = sponsor.token(sponsor.registry.token())
    token.mint(sponsor.account, terms.funding)
    token.approve(sponsor.vault.address, terms.funding)
    params = dataclasses.replace(
        terms.params(token.address), start_digest=component_root(START), constants_root=constants_root(table())
    )
    task, _ = sponsor.terms.create_task(params, validation_sets(terms.rounds + 1)[1], terms.funding)
    for i, trainer in enumerate(world.trainers):
        trainer.trainers.enrol(task, digest("data", i), 100)
    for verifier in world.verifiers:
        verifier.verifiers.enrol(task, terms.verifier_stake)
    return Play(world, task)


CASES: list[tuple[Callable[[], tuple[Trained, Digest32]], Fault]] = [
    (wrong_start, Fault.WRONG_START), (warm_start, Fault.WRONG_START), (wrong_middle, Fault.WRONG_UPDATE),
    (wrong_end, Fault.WRONG_UPDATE), (wrong_delta, Fault.WRONG_DELTA), (malformed, Fault.MALFORMED_RECORD),
]  # fmt: skip


@pytest.mark.parametrize(("lie", "kind"), CASES, ids=[lie.__name__ for lie, _ in CASES])
def test_fault_in_published_openings_is_found(
    lie: Callable[[], tuple[Trained, Digest32]], kind: Fault, world: GatewayWorld
) -> None:
    trained, delta = lie()
    found = look(trained, delta, world)
    assert found is not None
    assert found.kind is kind


def test_honest_work_has_no_fault(world: GatewayWorld) -> None:
    trained = Trained.of(START)
    assert look(trained, trained.delta, world) is None
    # What is not known is not guessed: one opening alone, with the next state hidden, proves nothing.
    hidden, _ = wrong_middle()
    params = world.terms.params(world.sponsor.registry.token()).training
    assert find_work_fault({1: hidden.opening(1)}, params, table(), component_root(START), hidden.delta) is None


def test_every_kind_of_fault_is_proved_on_chain_and_pays_the_prover(opened: Play, stranger: Gateway) -> None:
    """Three liars in each of two rounds; the salt comes from the calldata of their reveals."""
    world = opened.world
    for lies in (CASES[:3], CASES[3:]):
        opened.open()
        domain, round_ = opened.domain, opened.round
        work = {}
        for trainer, (lie, _) in zip(world.trainers, lies, strict=True):
            trained, delta = lie()
            data = RevealData(delta, trained.root, digest("salt", trainer.account))
            work[trainer.account] = trained, data
            trainer.trainers.commit(opened.task, seal_work(domain, trainer.account, data))
        for trainer in world.trainers:
            trainer.trainers.reveal(opened.task, work[trainer.account][1])
        opened.draw()
        for trainer, (_, kind) in zip(world.trainers, lies, strict=True):
            trained, data = work[trainer.account]
            named = committed_work(stranger, opened.task, round_, trainer.account)
            assert named == Work(opened.task, round_, trainer.account, data, CommitmentRef())
            start = stranger.tasks.round(opened.task, round_).start_digest
            params = stranger.terms.params(opened.task).training
            openings = {step: trained.opening(step) for step in range(STEPS)}
            final = trained.states[STEPS]["theta"] if data.delta_digest == trained.delta else None
            found = find_work_fault(openings, params, table(), start, data.delta_digest, final)
            assert found is not None
            before = stranger.registry.credit_of(stranger.account)
            found.prove(stranger.faults, named)
            assert stranger.trainers.work(opened.task, round_, trainer.account).fault is kind
            if round_ == FIRST:
                assert stranger.registry.credit_of(stranger.account) > before
        finish(opened)


def test_answer_with_a_value_that_is_no_number_is_proved_by_who_watches(
    opened: Play, stranger: Gateway, store: ArtifactStore
) -> None:
    """The store refuses such openings; the court takes the chunk, because it is what was committed, and pays for it."""
    world, liar = opened.world, opened.world.trainers[0]
    opened.open()
    domain, round_, trained = opened.domain, opened.round, Trained.of(START)
    trained.gradients[2][300] = np.nan
    trained.record()
    data = RevealData(trained.delta, trained.root, digest("salt", liar.account))
    works = {
        trainer.account: data if trainer is liar else work_of(domain, trainer.account) for trainer in world.trainers
    }
    for trainer in world.trainers:
        trainer.trainers.commit(opened.task, seal_work(domain, trainer.account, works[trainer.account]))
    for trainer in world.trainers:
        trainer.trainers.reveal(opened.task, works[trainer.account])
    opened.draw()
    bond = world.sponsor.court.params().demand_bond
    token = stranger.token(stranger.registry.token())
    token.mint(stranger.account, bond)
    lock_stake(stranger, Role.CHALLENGER, bond)
    work = committed_work(stranger, opened.task, round_, liar.account)
    assert work is not None
    number, _ = stranger.court.demand_opening(work, 2, Component.GRADIENT, 1)
    shown, opening = open_value(trained.gradients[2], 300), trained.opening(2)
    proof = tuple(map(Digest32, opening.before_proof))
    answer = ChunkOpening(trained.records[2].encode(), proof, shown.chunk, tuple(map(Digest32, shown.siblings)))
    liar.court.answer_opening(number, answer)
    told: list[str] = []
    watcher = Watcher(stranger, store, opened.task, lambda event, message, **_: told.append(event))
    before = stranger.registry.credit_of(stranger.account)
    watcher.demands.mind(stranger.connection.timestamp())
    assert told == ["work-fault", "proved"]
    assert stranger.trainers.work(opened.task, round_, liar.account).fault is Fault.NON_FINITE_VALUE
    earned = stranger.registry.credit_of(stranger.account)
    assert earned > before
    treasury = world.sponsor.account
    assert claim_credit(stranger, treasury) == earned
    assert (stranger.registry.credit_of(stranger.account), stranger.registry.credit_of(treasury)) == (0, earned)


def finish(play: Play) -> None:
    """Let the round end without attestations, and bring the trainers' stake back."""
    world = play.world
    for _ in range(8):
        if play.phase.name == "IDLE":
            break
        world.node("evm_increaseTime", 700)
        world.node("evm_mine")
        world.sponsor.tasks.advance(play.task)
    token = world.sponsor.token(world.sponsor.registry.token())
    lost = world.sponsor.terms.params(play.task).stakes.trainer_stake
    for trainer in world.trainers:
        token.mint(trainer.account, lost)
        lock_stake(trainer, Role.TRAINER, lost)
        trainer.trainers.top_up(play.task)
    for verifier in world.verifiers:
        if verifier.verifiers.enrolment(play.task, verifier.account).misses:
            verifier.verifiers.rejoin(play.task, world.terms.verifier_stake)


def look(trained: Trained, delta: Digest32, world: GatewayWorld) -> TrainerFault | None:
    params = world.terms.params(world.sponsor.registry.token()).training
    openings = {step: trained.opening(step) for step in range(STEPS)}
    final = trained.states[STEPS]["theta"] if delta == trained.delta else None
    return find_work_fault(openings, params, table(), component_root(START), delta, final)
