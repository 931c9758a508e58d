"""Accidents of the network around honest roles: everybody is settled and paid, nobody loses stake or bond.

Each test plays one whole round on Anvil with every role on a thread of its own behind a proxy. The schedule of faults
is fixed. `benchmarks/reliability` plays many more of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deltaproof.agent.patience import Patience
from deltaproof.chain.abi.enums import Outcome
from deltaproof.chain.local_node import Node, start_node
from deltaproof.errors import StoreUnavailable
from deltaproof.protocol.outcome.settlement import Verdict
from tests.chain.rpc_proxy import LaggingPool, RawAnswer
from tests.chaos.chaos_world import ChaosWorld, chaos_world

PATIENCE = 240.0
LOOKING = 0.3
"""Seconds between looks at the chain: more often, and looking is most of what the tests cost."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with start_node("anvil", accounts=12) as running:
        yield running


def settled_without_loss(world: ChaosWorld, before: dict[str, int]) -> None:
    """What every accident has to leave behind."""
    assert world.outcome() == Outcome.SETTLED, world.story()
    assert set(world.verdicts().values()) == {Verdict.ACCEPTED}
    told = world.faults_told()
    assert told["forfeited"] == told["slashed"] == told["refused"] == 0, world.story()
    assert world.stakes() == before, world.story()


def test_every_rpc_fault_in_turn_costs_nobody_anything(node: Node, tmp_path: Path) -> None:
    """Each role's node fails in a way of its own for most of the time, in every phase."""
    with chaos_world(node, tmp_path, poll_seconds=LOOKING) as world:
        kinds: list[Any] = [
            "refuse", "drop", RawAnswer(500), RawAnswer(429), RawAnswer(200), {"code": -32005, "message": "limit"},
        ]  # fmt: skip
        for number, role in enumerate(world.roles):
            role.proxy.fault = partial(failing_a_third_of_the_time, number, kinds[number % len(kinds)])
        world.start()
        stakes = joined(world)
        world.wait_until_done(PATIENCE)
        assert world.faults_told()["delayed"] > 5, "the faults were felt"
        settled_without_loss(world, stakes)


def test_nodes_that_differ_by_two_blocks_cost_nobody_anything(node: Node, tmp_path: Path) -> None:
    with chaos_world(node, tmp_path, poll_seconds=LOOKING) as world:
        for role in world.roles:
            role.proxy.fault = LaggingPool(role.proxy)
        world.start()
        stakes = joined(world)
        world.wait_until_done(PATIENCE)
        settled_without_loss(world, stakes)


def test_store_that_is_away_in_every_phase_is_waited_for(node: Node, tmp_path: Path) -> None:
    with chaos_world(node, tmp_path, poll_seconds=LOOKING) as world:
        away_until = 0.0
        seen: set[str] = set()

        def fault(access: str, path: str) -> None:
            if time.monotonic() < away_until:
                raise StoreUnavailable(path, "the store is away")

        for role in world.roles:
            role.store.fault = fault
        world.start()
        stakes = joined(world)

        def go_away_once_in_every_phase() -> None:
            nonlocal away_until
            if (phase := world.phase()) not in seen:
                seen.add(phase)
                away_until = time.monotonic() + 3.0

        world.wait_until_done(PATIENCE, go_away_once_in_every_phase)
        assert world.faults_told()["delayed"] > 3
        settled_without_loss(world, stakes)


def test_reorganisations_in_every_phase_cost_nobody_anything(node: Node, tmp_path: Path) -> None:
    """The last blocks are replaced by empty ones: what was committed in them, and seeds, are gone.

    Three blocks and one in turn; `benchmarks/reliability` takes up to twenty at any moment.
    """
    with chaos_world(node, tmp_path, poll_seconds=LOOKING) as world:
        world.start()
        stakes = joined(world)
        seen = {"IDLE"}

        def replace_blocks_once_in_every_phase() -> None:
            if (phase := world.phase()) not in seen:
                time.sleep(0.3)
                world.raw("anvil_reorg", 3 if len(seen) % 2 else 1, [])
                seen.add(phase)

        world.wait_until_done(PATIENCE, replace_blocks_once_in_every_phase)
        assert len(seen) > 6, seen
        settled_without_loss(world, stakes)


def test_node_that_fails_for_long_is_asked_ten_times_a_phase(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pauses of a minute would sleep through a phase in which the node comes and goes."""
    monkeypatch.setattr("deltaproof.chain.rpc.endpoints.FIRST_PAUSE_SECONDS", 0.0)
    pauses: list[Any] = []

    def note(event: str, _message: str, **fields: object) -> None:
        if event == "delayed":
            pauses.append(fields["pause_seconds"])

    with chaos_world(node, tmp_path, trainers=1, verifiers=1, seconds=40) as world:
        for role in world.roles:
            role.agent.report = note
            role.proxy.fault = lambda request: RawAnswer(500)
            for _ in range(8):
                role.agent._patience.setdefault("chain", Patience("chain"))._ready_at = 0.0
                role.agent._cycle()
    assert len(pauses) == 8 * len(world.roles)
    assert 3.0 <= max(pauses) <= 4.0, pauses


def failing_a_third_of_the_time(number: int, kind: Any, request: dict[str, Any]) -> Any:
    """Bursts of two seconds, longer than what one call tries again by itself, at another time for each role."""
    return kind if int(time.monotonic() / 2 + number) % 3 == 0 else None


def joined(world: ChaosWorld) -> dict[str, int]:
    """The stakes once everybody has enrolled."""
    deadline = time.monotonic() + PATIENCE
    while world.phase() == "IDLE":
        assert time.monotonic() < deadline, world.story()
        time.sleep(0.2)
    return world.stakes()
