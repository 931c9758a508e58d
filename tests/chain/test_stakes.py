"""Leaving a task: whoever has to wait is told until when, in words and for a script."""

from __future__ import annotations

import time

from deltaproof.chain.abi.enums import Role
from deltaproof.chain.stakes import leave_task
from tests.worlds.gateways import GatewayWorld


def test_leaving_with_a_stake_that_can_be_slashed_tells_until_when(world: GatewayWorld) -> None:
    play = world.start_task()
    play.open()
    play.commit()
    own = world.trainers[0]
    resigned, locked = leave_task(own, play.task, Role.TRAINER)
    assert (resigned.done, resigned.message) == (True, f"resigned from task {play.task}: the running round is the last")
    assert (locked.done, locked.until) == (False, None), "nobody knows yet when the round ends"
    assert "come back later" in locked.message
    world.node("evm_increaseTime", 3_600)
    world.node("evm_mine")
    world.sponsor.tasks.advance(play.task)
    (locked,) = leave_task(own, play.task, Role.TRAINER)
    now = own.connection.timestamp()
    assert not locked.done
    assert locked.until is not None
    assert locked.until > now
    assert time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(locked.until)) in locked.message
    assert "StillBound" not in locked.message
