"""A commitment that is never revealed costs its bond once, and the trainer is told what that leaves."""

from __future__ import annotations

import pytest

from deltaproof.chain.stakes import clear_bond
from deltaproof.errors import TaskMissing, UsageError
from deltaproof.protocol.types import RoundIndex, TaskId
from tests.worlds.gateways import GatewayWorld


def test_bond_is_settled_once_when_nothing_can_be_revealed_any_more(world: GatewayWorld) -> None:
    play = world.start_task()
    play.open()
    play.commit()
    own, other = world.trainers[0], world.trainers[1]
    with pytest.raises(UsageError, match="can still be revealed"):
        clear_bond(other, play.task, own.account)
    with pytest.raises(UsageError, match="does not take part"):
        clear_bond(own, play.task, world.sponsor.account)
    with pytest.raises(TaskMissing):
        clear_bond(own, TaskId(10**6), own.account)
    world.node("evm_increaseTime", 3_600)
    world.node("evm_mine")
    world.sponsor.tasks.advance(play.task)
    stakes = world.sponsor.terms.params(play.task).stakes
    cleared = clear_bond(other, play.task, own.account)
    assert cleared is not None
    assert (cleared.round, cleared.lost) == (RoundIndex(1), stakes.commit_bond)
    assert cleared.stake == cleared.least - cleared.lost == own.trainers.enrolment(play.task, own.account).stake
    assert clear_bond(own, play.task, own.account) is None
