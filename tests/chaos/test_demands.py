"""Demands against honest trainers are answered by the running agents, whatever else they do."""

from __future__ import annotations

import time
from pathlib import Path

from deltaproof.chain.abi.dispute_structs import Work
from deltaproof.chain.abi.enums import Component, Outcome, Role
from deltaproof.chain.abi.structs import CommitmentRef, RevealData
from deltaproof.chain.events.participants import Revealed
from deltaproof.chain.local_node import start_node
from deltaproof.chain.participation import lock_stake
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.types import RoundIndex, TokenAmount
from deltaproof.sponsor.life import Sponsor
from tests.chaos.chaos_world import ChaosWorld, chaos_world
from trainer.life import Trainer
from verifier.life import Verifier

FIRST = RoundIndex(1)


def test_demand_against_an_honest_trainer_is_answered_and_costs_it_nothing(tmp_path: Path) -> None:
    """Chunks of every vector, of the first, a middle and the last record."""
    with start_node("anvil", accounts=12) as node, chaos_world(node, tmp_path, seconds=120) as world:
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
