"""A delta that nobody can read, on a chain that makes blocks of transactions alone: all wait, and none comes."""

from __future__ import annotations

from pathlib import Path

from benchmarks.reliability.of_people import HostileTrainer
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.local_node import start_node
from tests.chaos.chaos_world import chaos_world


class Folder(HostileTrainer):
    """Has a folder lie where its delta should."""

    WAYS = ("a folder for a delta",)


def test_unreadable_delta_costs_nobody_the_round_on_a_chain_whose_clock_stands_while_all_wait(tmp_path: Path) -> None:
    with (
        start_node("anvil", accounts=12) as node,
        chaos_world(node, tmp_path, seconds=40, trainers=2, verifiers=2, hostile=(Folder,), poll_seconds=0.3) as world,
    ):
        world.start()
        world.wait_until_done(240)
        assert world.outcome() is Outcome.SETTLED
        stakes = world.stakes()
        assert {role.name: stakes[role.name] for role in world.roles if role.name in stakes and role.honest} == {
            "trainer-0": 100, "trainer-1": 100, "verifier-0": 125, "verifier-1": 125,
        }  # fmt: skip
