"""A trainer phase by phase on the real contracts: what it does once, what it finds again, what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import Node, start_node
from deltaproof.errors import DeltaproofError
from deltaproof.protocol.draws.samples import draw_samples
from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.evidence.transcript import StepRecord
from deltaproof.protocol.types import RoundIndex, TokenAmount
from deltaproof.sponsor.penalties import penalties_paid
from deltaproof.tuning.training.recording import Progress, TrainedRound
from tests.worlds.roles import FUND, RoleWorld, build_world
from trainer.conduct import Honest, RoundWork
from trainer.life import Trainer

FIRST = RoundIndex(1)


@dataclass
class Counting(Honest):
    """Honest, and counts the steps that each call trained rather than found."""

    trained: list[int] = field(default_factory=list)

    def train(self, work: RoundWork, progress: Progress) -> TrainedRound:
        steps: list[StepRecord] = []

        def count(record: StepRecord) -> None:
            steps.append(record)
            progress(record)

        done = super().train(work, count)
        self.trained.append(len(steps))
        return done


@dataclass
class Heard:
    """What a trainer reported."""

    events: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, event: str, message: str, **_fields: object) -> None:
        self.events.append((event, message))

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil", accounts=6) as running:
        yield running


@pytest.fixture(scope="module")
def people(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RoleWorld]]:
    """Worlds of one honest trainer, one cheat and one verifier, all on one deployment, each with a task of its own."""
    folder, opened = tmp_path_factory.mktemp("people"), []

    def meet() -> RoleWorld:
        deployment = opened[0].gateway.deployment if opened else None
        if opened:
            opened[-1].close()
        opened.append(build_world(node, folder, honest=1, verifiers=1, deployment=deployment))
        return opened[-1]

    yield meet
    opened[-1].close()


@pytest.fixture
def world(people: Callable[[], RoleWorld]) -> RoleWorld:
    return people()


def again(trainer: Trainer, *, home: Path | None = None, **changes: object) -> tuple[Trainer, Counting, Heard]:
    """The same trainer after a restart: nothing but its home is left, or not even that."""
    conduct, heard = Counting(), Heard()
    options = {"rows": trainer.shard.rows, "store": trainer.store, **changes}
    back = Trainer(
        trainer.gateway, options["store"], trainer.task_id, options["rows"], home or trainer.home, conduct, heard,
        poll_seconds=0.01,
    )  # type: ignore[arg-type]  # fmt: skip
    return back, conduct, heard


def test_join_enrols_once_and_refuses_other_data_or_another_home(world: RoleWorld, tmp_path: Path) -> None:
    trainer = world.trainers[0]
    enrolled = world.gateway.trainers.enrolments(world.task)[trainer.account]
    assert (enrolled.data_root, enrolled.data_rows) == (trainer.shard.root, len(trainer.shard.rows))
    blocks = trainer.gateway.connection.block_number()
    trainer.join()
    assert trainer.gateway.connection.block_number() == blocks
    other_rows, _, _ = again(trainer, rows=(*trainer.shard.rows[:-1], canonical_row({"text": "other", "label": 0})))
    other_home, _, _ = again(trainer, home=tmp_path)  # its rows have other salts there
    for stranger in (other_rows, other_home):
        with pytest.raises(DeltaproofError, match="same --data and --home"):
            stranger.join()


def test_next_round_waits_for_the_penalties_of_the_last_and_no_longer(world: RoleWorld) -> None:
    world.open_round()
    world.work()
    world.attest()
    world.post()
    world.skip_time(11)
    world.gateway.tasks.finalize(world.task)
    asked = (world.gateway, world.store, world.task, FIRST)
    assert not penalties_paid(*asked), "the cheat still has its stake"
    world.verifiers[0].close_rounds(FIRST)
    assert penalties_paid(*asked)


def test_phase_that_is_too_short_for_the_pace_is_told_once_while_training(
    world: RoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _, heard = again(world.trainers[0])
    world.open_round()
    monkeypatch.setattr(trainer, "seconds_left", lambda: 0.0)
    trainer.commit(FIRST)
    assert heard.names().count("too-slow") == 1
    assert heard.names().index("too-slow") < heard.names().index("committed")


def test_round_goes_on_after_a_restart_in_every_phase(world: RoleWorld) -> None:
    """Trained once; commitment, reveal and openings of later lives fit what the first one trained."""
    trainer, cheat = world.trainers
    world.open_round()
    steps = trainer.spec.training.steps
    first, conduct, _ = again(trainer)
    first.commit(FIRST)
    assert conduct.trained == [steps]
    sealed = world.gateway.trainers.commitment(world.task, FIRST, trainer.account)
    cheat.commit(FIRST)

    second, conduct, _ = again(trainer)
    second.commit(FIRST)
    assert conduct.trained == []
    assert world.gateway.trainers.commitment(world.task, FIRST, trainer.account) == sealed
    world.until(Phase.REVEAL)
    second.reveal(FIRST)
    second.reveal(FIRST)
    assert conduct.trained == [0]
    cheat.reveal(FIRST)

    third, conduct, _ = again(trainer)
    world.until(Phase.OPENING)
    world.sponsor.reveal(FIRST)
    third.opening(FIRST)
    assert conduct.trained == [0]
    work = world.gateway.trainers.work(world.task, FIRST, trainer.account)
    assert (work.committed, work.revealed, work.opened) == (True, True, True)
    cheat.opening(FIRST)
    world.until(Phase.ATTEST_COMMIT)
    world.attest()
    world.settle()
    paid = balance(world, trainer)
    fourth, _, heard = again(trainer)
    fourth.collect(FIRST)
    fourth.collect(FIRST)
    assert balance(world, trainer) == paid > 0
    assert heard.names().count("paid") == 1


def test_openings_are_the_drawn_steps_and_no_others(world: RoleWorld) -> None:
    trainer = world.trainers[0]
    world.open_round()
    world.work()
    seed = world.gateway.tasks.round(world.task, FIRST).challenge_seed
    steps, samples = trainer.spec.training.steps, trainer.spec.verification.samples
    expected = set(draw_samples(seed, world.task, FIRST, trainer.account, steps=steps, extra=samples))
    folders = (world.store_folder / "openings").glob("*/*")
    shown = [{int(path.name) for path in folder.iterdir()} for folder in folders]
    assert expected in shown
    assert len(expected) < trainer.spec.training.steps


def test_missed_phases_are_left_alone_and_the_late_are_told(world: RoleWorld) -> None:
    trainer, cheat = world.trainers
    world.open_round()
    late, conduct, heard = again(trainer)
    cheat.commit(FIRST)
    world.skip_time(601)
    late.commit(FIRST)
    assert "late" in heard.names()
    world.gateway.tasks.advance(world.task)
    late.reveal(FIRST)
    late.opening(FIRST)
    work = world.gateway.trainers.work(world.task, FIRST, trainer.account)
    assert (work.committed, work.revealed, work.opened) == (False, False, False)
    assert conduct.trained == [trainer.spec.training.steps]


def test_task_that_pays_by_other_terms_than_its_spec_is_refused(world: RoleWorld) -> None:
    trainer, sponsor = world.trainers[0], world.gateway
    token = sponsor.token(sponsor.registry.token())
    token.mint(sponsor.account, TokenAmount(FUND))
    token.approve(sponsor.vault.address, TokenAmount(FUND))
    cheaper = replace(trainer.params, rewards=replace(trainer.params.rewards, floor_bps=0))
    task, _ = sponsor.terms.create_task(cheaper, trainer.spec.validation.commitments, TokenAmount(FUND))
    with pytest.raises(DeltaproofError, match="does not follow from its own spec"):
        Trainer(trainer.gateway, trainer.store, task, trainer.shard.rows, trainer.home, Honest(), Heard())


def test_data_that_the_task_does_not_name_is_refused(
    node: Node, people: Callable[[], RoleWorld], tmp_path: Path
) -> None:
    deployment = people().gateway.deployment
    named = build_world(node, tmp_path, honest=1, verifiers=1, shards=(0, 1), deployment=deployment)
    trainer = named.trainers[0]
    with pytest.raises(DeltaproofError, match="takes only data that its sponsor named"):
        again(trainer, rows=(*trainer.shard.rows[:-1], canonical_row({"text": "own", "label": 0})))
    again(trainer)[0].join()  # the named one fits from any home
    named.close()


def balance(world: RoleWorld, trainer: Trainer) -> int:
    return int(world.gateway.token(trainer.params.token).balance_of(trainer.account))
