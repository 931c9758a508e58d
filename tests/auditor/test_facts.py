"""Who belonged to a round, as the events say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deltaproof.auditor.facts.loading import load_task
from deltaproof.auditor.index.events import Event
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.participation import quorum_members
from tests.worlds.roles import RoleWorld


def test_quorum_every_round_as_the_contracts_say(world: RoleWorld, index: Index) -> None:
    task = load_task(index, world.task)
    for round_ in task.rounds:
        assert task.quorum_of(round_) == list(quorum_members(world.gateway, world.task, round_))  # type: ignore[arg-type]


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
