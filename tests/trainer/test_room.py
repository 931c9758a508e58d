"""A task that is full: who waits, whose seat is taken, and that nobody who works loses one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deltaproof.chain import Gateway, TransactionSender, load_account
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.abi.structs import FOREVER
from deltaproof.chain.local_node import start_node
from deltaproof.chain.room import idle_trainers
from deltaproof.errors import ChainError
from deltaproof.protocol.types import RoundIndex, TokenAmount
from tests.disputing.conftest import Heard
from tests.worlds.roles import FUND, RoleWorld, build_world, shard_rows
from trainer.conduct import Honest
from trainer.life import Trainer


@pytest.fixture
def world(tmp_path: Path) -> Iterator[RoleWorld]:
    """Three trainers, the third of whom never works, and room for no more."""
    with start_node("anvil", accounts=10) as node:
        built = build_world(node, tmp_path, rounds=3, honest=2, verifiers=2, max_trainers=3)
        yield built
        built.close()


def newcomer(world: RoleWorld, home: Path) -> Trainer:
    connection = world.gateway.connection
    sender = TransactionSender(connection, load_account(world.node.private_keys[9]), state_folder=home / "state")
    world.senders.append(sender)
    gateway = Gateway(connection, world.gateway.deployment, sender)
    gateway.token(gateway.registry.token()).mint(gateway.account, TokenAmount(FUND))
    return Trainer(gateway, world.store, world.task, shard_rows(20, seed=9), home, Honest(), Heard(), poll_seconds=0.01)


def test_seat_of_a_name_that_never_works_goes_to_one_that_does(world: RoleWorld, tmp_path: Path) -> None:
    """Attack: fill a task before anybody else, and do nothing."""
    *working, squatter = world.trainers
    world.trainers = working
    late = newcomer(world, tmp_path / "late")
    with pytest.raises(ChainError, match="full: 3 trainers"):
        late.join()

    world.play(1)
    assert idle_trainers(world.gateway, world.task) == [squatter.account]
    late.join()
    seats = world.gateway.trainers.enrolments(world.task)
    assert [seats[one.account].active_until for one in (*working, late)] == [FOREVER] * 3
    assert seats[squatter.account].active_until == 1
    assert seats[squatter.account].stake == squatter.params.stakes.trainer_stake, "a seat costs no stake"

    world.trainers = [*working, late]
    world.play(1)
    assert world.gateway.trainers.work(world.task, RoundIndex(2), late.account).revealed
    assert idle_trainers(world.gateway, world.task) == []
    with pytest.raises(ChainError, match="full: 3 trainers"):
        squatter.mind_stake()
    late.gateway.trainers.resign(world.task)
    squatter.mind_stake()
    assert world.gateway.trainers.enrolment(world.task, squatter.account).active_until == FOREVER

    leaver = working[0]
    leaver.gateway.trainers.resign(world.task)
    leaver.mind_stake()
    assert world.gateway.trainers.enrolment(world.task, leaver.account).active_until == 2, "whoever leaves stays away"


def test_trainer_that_was_put_out_commits_before_it_takes_a_seat_again(world: RoleWorld) -> None:
    """Attack: free its seat while it trains. A seat that it takes at once counts from the next round on, and what it
    trains would be for nothing."""
    *working, idle = world.trainers
    world.trainers = working
    world.play(1)
    round_ = world.open_round()
    world.until(Phase.COMMIT)
    working[0].gateway.trainers.vacate(world.task, idle.account)
    idle.mind_stake()
    idle.commit(round_)
    assert idle.gateway.trainers.has_committed(world.task, round_, idle.account)
    idle.mind_stake()
    assert idle.gateway.trainers.enrolment(world.task, idle.account).active_until == FOREVER
