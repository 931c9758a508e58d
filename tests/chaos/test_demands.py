"""Demands against honest trainers are answered by the running agents, whatever else they do."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from deltaproof.chain.abi.dispute_structs import Work
from deltaproof.chain.abi.enums import Component, Outcome, Role
from deltaproof.chain.abi.structs import CommitmentRef, RevealData
from deltaproof.chain.events.participants import Revealed
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import lock_stake
from deltaproof.chain.tasklog import TaskLog
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.types import RoundIndex, TokenAmount
from deltaproof.sponsor.life import Sponsor
from tests.chaos.chaos_world import ChaosWorld, FaultyBackend, chaos_world
from trainer.life import Trainer
from verifier.life import Verifier

FIRST = RoundIndex(1)


def test_demand_against_an_honest_trainer_is_answered_and_costs_it_nothing(tmp_path: Path) -> None:
    """Chunks of every vector, of the first, a middle and the last record."""
    with start_node("anvil", accounts=12) as node, chaos_world(node, tmp_path, seconds=120, poll_seconds=0.3) as world:
        for verifier in world.of(Verifier):
            verifier.agent.join()
        world.start(Sponsor, Trainer)
        honest = world.of(Trainer)[0]
        wait_for(world, "ATTEST_COMMIT")
        stakes = world.stakes()
        places = [
            (0, Component.THETA, 0), (3, Component.SECOND_MOMENT, 0), (3, Component.GRADIENT, 0),
            (6, Component.THETA, 0),
        ]  # fmt: skip
        for step, component, chunk in places:
            number = demand(world, honest.agent.account, step, component, chunk)
            until(world, lambda number=number: world.gateway.court.demand(number).closed)
        world.start(Verifier)
        world.wait_until_done(240)
        assert world.outcome() == Outcome.SETTLED
        assert [event for event, _ in honest.events].count("answered") == len(places), world.story()
        assert world.stakes()[honest.name] >= stakes[honest.name]


def demand(world: ChaosWorld, trainer: str, step: int, component: Component, chunk: int) -> int:
    """Demand as a stranger would, from what is public."""
    gateway, agent = world.gateway, next(r.agent for r in world.of(Trainer) if r.agent.account == trainer)
    assert isinstance(agent, Trainer)
    token = gateway.token(gateway.registry.token())
    bond = gateway.court.params().demand_bond
    token.mint(gateway.account, bond)
    lock_stake(gateway, Role.CHALLENGER, TokenAmount(bond))
    log = TaskLog(gateway, [gateway.trainers.address], world.task)
    log.refresh(FIRST)
    shown = next(event for event in log.of(Revealed, FIRST) if event.trainer == agent.account)
    salt = agent._reveal_data(FIRST, agent._done[FIRST]).salt  # anybody reads it from the reveal's calldata
    data = RevealData(shown.delta_digest, shown.transcript_root, salt)
    work = Work(world.task, FIRST, agent.account, data, CommitmentRef())
    return gateway.court.demand_opening(work, step, component, chunk)[0]


def wait_for(world: ChaosWorld, phase: str) -> None:
    until(world, lambda: world.phase() == phase)


def until(world: ChaosWorld, condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, world.story()
        time.sleep(0.1)


def test_demand_is_answered_from_the_home_when_the_store_has_lost_everything(tmp_path: Path) -> None:
    """Attack: lose the start adapter, demand a chunk of every trainer, and close the demands for their stake."""
    with (
        start_node("anvil", accounts=12) as node,
        chaos_world(node, tmp_path, seconds=600, kept_seconds=60, poll_seconds=0.3) as world,
    ):
        for verifier in world.of(Verifier):
            verifier.agent.join()
        world.start(Sponsor, Trainer)
        wait_for(world, "ATTEST_COMMIT")
        shutil.rmtree(world.store_folder)
        numbers = [demand(world, role.agent.account, 3, Component.THETA, 0) for role in world.of(Trainer)]
        until(world, lambda: all(world.gateway.court.demand(number).closed for number in numbers))
        # Told a moment after the chain has it.
        until(world, lambda: all("answered" in dict(role.events) for role in world.of(Trainer)))
        closures = [world.gateway.vault.closure(world.task, FIRST, role.agent.account) for role in world.of(Trainer)]
        assert not any(closure.blocked for closure in closures)


def test_demand_is_answered_by_a_trainer_that_starts_again_while_no_store_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        start_node("anvil", accounts=12) as node,
        chaos_world(node, tmp_path, seconds=600, kept_seconds=60, poll_seconds=0.3) as world,
    ):
        for verifier in world.of(Verifier):
            verifier.agent.join()
        world.start(Sponsor, Trainer)
        wait_for(world, "ATTEST_COMMIT")
        honest = world.of(Trainer)[0]

        def away(_access: str, path: str) -> None:
            raise StoreUnavailable(path, "no route to host")

        honest.stop()
        until(world, lambda: not honest.living)
        monkeypatch.setattr(FaultyBackend, "fault", staticmethod(away))
        number = demand(world, honest.agent.account, 3, Component.THETA, 0)
        assert honest.agent.gateway.sender is not None
        honest.agent.gateway.sender.close()
        back = honest.again(honest.folder)
        back.start()
        until(world, lambda: world.gateway.court.demand(number).closed)
        until(world, lambda: "answered" in dict(back.events))  # told a moment after the chain has it
        back.stop()
