"""Who belonged to a round, as the events say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deltaproof.auditor.facts.loading import load_round, load_task
from deltaproof.auditor.facts.sharing import enrolment_rank, shard_in
from deltaproof.auditor.facts.tasks import TaskFacts
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.participation import quorum_members
from tests.worlds.roles import RoleWorld


def test_quorum_every_round_as_the_contracts_say(world: RoleWorld, index: Index) -> None:
    task = load_task(index, world.task)
    for round_ in task.rounds:
        assert task.quorum_of(round_) == list(quorum_members(world.gateway, world.task, round_))  # type: ignore[arg-type]


def test_enrolment_ranks_of_everybody_look_through_the_enrolments_once(
    world: RoleWorld, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = load_round(index, load_task(index, world.task), 1)
    before = {t: shard_in(facts, t).position for t in facts.commitments}
    facts, looked = load_round(index, load_task(index, world.task), 1), list[str]()
    named = TaskFacts.named
    monkeypatch.setattr(TaskFacts, "named", lambda task, *names: looked.extend(names) or named(task, *names))
    ranks = {trainer: enrolment_rank(facts, trainer) for trainer in facts.commitments}
    assert ranks == {t: sum(other < own for other in before.values()) for t, own in before.items()}
    assert sorted(ranks.values()) == list(range(len(world.trainers)))
    assert looked == ["TrainerEnrolled"]


def test_quorum_verifier_that_left_and_came_back_belongs_to_the_rounds_between(world: RoleWorld, index: Index) -> None:
    task = load_task(index, world.task)
    leaver, *others = task.quorum_of(1)
    last = task.events[-1]

    def event(number: int, name: str, **args: Any) -> Event:
        return replace(last, block=last.block + number, name=name, args={"verifier": leaver, **args})

    told = replace(
        task,
        events=(
            *task.events,
            event(1, "VerifierStopped", active_until=2),
            event(2, "VerifierReleased", stake=0),
            event(3, "VerifierActivated", active_from=5, weight=1),
            event(4, "VerifierStopped", active_until=6),
        ),
    )
    belongs = [leaver in told.quorum_of(round_) for round_ in range(1, 9)]
    assert belongs == [True, True, False, False, True, True, False, False]
    assert all(set(others) <= set(told.quorum_of(round_)) for round_ in range(1, 9))
