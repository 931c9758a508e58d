"""Seats in a full quorum: of the stronger stake, whoever came first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deltaproof.protocol.types import RoundIndex, TokenAmount, address_bytes
from tests.chain.node_calls import poke
from tests.disputing.conftest import Heard
from tests.worlds.gateways import GatewayWorld, world_alone
from tests.worlds.simulated import UNIT
from verifier.seat import take_seat

FIRST = RoundIndex(1)
MEMBERS = 1_024
"""`VerifierQuorum.MAX_MEMBERS`."""
CHECKPOINTS = 3
"""Slot of `VerifierQuorum._checkpoints`; the third word of a checkpoint has its weight and, above it, its members."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    with world_alone(tmp_path_factory.mktemp("state"), people=5, trainers=1) as running:
        yield running


def test_full_quorum_gives_the_seat_of_less_stake_to_more_and_to_nobody_else(world: GatewayWorld) -> None:
    task, pool = world.create_task(), world.sponsor.verifiers
    first, second, strong, equal = sorted(world.verifiers, key=lambda one: address_bytes(one.account))
    for member in (first, second):
        member.verifiers.enrol(task, TokenAmount(200 * UNIT))
    # The others of a full quorum weigh as much each as these two.
    poke(
        world.connection, pool.address, (CHECKPOINTS, task, 0),
        lambda word: word & ~(2**128 - 1) | MEMBERS << 96 | MEMBERS * 200 * UNIT, offset=2,
    )  # fmt: skip
    strong.verifiers.enrol(task, TokenAmount(300 * UNIT))
    equal.verifiers.enrol(task, TokenAmount(200 * UNIT))
    assert not pool.in_quorum(task, FIRST, strong.account), "it waits for a seat"
    heard = Heard()
    take_seat(equal, task, heard)
    assert heard.names() == ["full"]
    take_seat(strong, task, heard)
    assert heard.names() == ["full", "replaced"]
    seated = [who for who in (first, second, strong, equal) if pool.in_quorum(task, FIRST, who.account)]
    assert seated == [second, strong], "of equals, the lower address leaves"
    second.verifiers.resign(task)
    take_seat(equal, task, heard)
    assert pool.in_quorum(task, FIRST, equal.account), "there was room again"
