"""Reading keys that change in the middle of a round: nobody's work is lost by it, and nobody works twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.admissions import AdmissionDesk
from deltaproof.chain.local_node import start_node
from deltaproof.chain.reading import publish_reading_key
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import RoundIndex
from tests.worlds.roles import RoleWorld, build_world, silent
from verifier.life import Verifier

FIRST = RoundIndex(1)
SEALED = 'visibility = "verifiers"\n[adapter]\nvisibility = "participants"'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RoleWorld]:
    """A private round up to the openings of its trainers, which nobody has published yet."""
    with start_node("anvil", accounts=8) as node:
        built = build_world(node, tmp_path, rounds=1, honest=1, verifiers=3, data=SEALED)
        built.open_round()
        for trainer in built.trainers:
            trainer.readers._clock = lambda: 0.0
            trainer.commit(FIRST)
        built.until(Phase.REVEAL)
        for trainer in built.trainers:
            trainer.reveal(FIRST)
        built.until(Phase.OPENING)
        built.sponsor.reveal(FIRST)
        yield built
        built.close()


def test_keys_rotated_before_and_after_sealing_lose_nobodys_round_and_cost_nobody_a_second_replay(
    world: RoleWorld, tmp_path: Path
) -> None:
    patient, before, after = world.verifiers
    publish_reading_key(before.gateway, before.store, before.secret, rotate=True)
    for trainer in world.trainers:
        trainer.opening(FIRST)
    assert envelopes(world, before) == {1}, "what is sealed later is for the newest key"

    replayed: list[str] = []
    patient.examiner.report = lambda event, _message, **_: replayed.append(event)
    patient.look_early(FIRST)
    assert replayed.count("replayed") > 0

    publish_reading_key(after.gateway, after.store, after.secret, rotate=True)
    moved = with_a_new_home(world, tmp_path / "new-home")
    assert envelopes(world, after) == {0}, "nobody has looked again"
    world.until(Phase.ATTEST_COMMIT)
    for trainer in world.trainers:
        trainer.opening(FIRST)
    assert envelopes(world, after) == {0}, "who was sealed for is looked for now and then only"
    for trainer in world.trainers:
        trainer.readers._clock = lambda: 60.0
        trainer.opening(FIRST)
    assert envelopes(world, after) == {0, 2}, "by its newest key"

    replayed.clear()
    for verifier in (patient, before, moved):
        verifier.attest_commit(FIRST)
        own = verifier.own.of(FIRST)
        assert own is not None
        assert own.by_trainer()[world.trainers[0].account].verdict is Verdict.ACCEPTED
    assert "replayed" not in replayed, "a new key costs no replay"


def with_a_new_home(world: RoleWorld, home: Path) -> Verifier:
    """The last verifier on a new machine, without what it had: it says so with its next key, and is admitted anew."""
    lost = world.verifiers[-1]
    found = Verifier(lost.gateway, world.store, world.task, home, silent, poll_seconds=0.01)
    found.join()
    found.show_reading_key()
    assert not found.entrance.is_open()
    AdmissionDesk(world.gateway, world.sponsor.store, world.task, world.sponsor.spec, silent).mind()
    assert found.store.private is not None
    assert found.store.private.enter([world.sponsor.account])
    return found


def envelopes(world: RoleWorld, verifier: Verifier) -> set[int]:
    """The epochs of a verifier's keys for which the honest trainer has sealed."""
    trainer = world.trainers[0]
    done = trainer._work_of(FIRST)
    assert done is not None
    records = world.store.get_keys(verifier.gateway.permit_domain, verifier.account)
    root = done.trained.transcript_root
    return {record.epoch for record in records if world.store.has_envelope(root, trainer.account, record.key)}
