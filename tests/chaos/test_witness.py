"""`--witness`: a node that somebody else contradicts is not acted on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.agent import witness as agent_witness
from deltaproof.agent.witness import Witness
from deltaproof.chain.local_node import start_node
from deltaproof.errors import WrongChain
from deltaproof.sponsor.life import Sponsor
from tests.chain.rpc_proxy import RpcProxy
from tests.chaos.chaos_world import ChaosWorld, Lived, chaos_world
from trainer.life import Trainer
from verifier.life import Verifier


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ChaosWorld]:
    """Everybody has joined, and the sponsor would open a round as soon as it looks."""
    with start_node("anvil", accounts=12) as node, chaos_world(node, tmp_path, trainers=1, verifiers=1) as built:
        for role in [*built.of(Trainer), *built.of(Verifier)]:
            role.agent.join()
        yield built


def other_blocks(request: dict[str, Any], answer: dict[str, Any]) -> None:
    """What a node of another branch says: all blocks but the first are others."""
    if request["method"] == "eth_getBlockByNumber" and request["params"][0] != "0x0":
        answer["result"]["hash"] = "0x" + 64 * "e"


def look(role: Lived) -> None:
    """One look at the chain, without the pause after the last failure."""
    role.agent._patience.clear()
    role.agent._cycle()


def test_nothing_is_done_while_two_nodes_disagree_and_all_once_they_agree(world: ChaosWorld) -> None:
    (sponsor,) = world.of(Sponsor)
    with RpcProxy(world.node.rpc_url) as other:
        sponsor.agent.lookout.witness = Witness(other.url, sponsor.agent.gateway.connection, sponsor.agent.report)
        other.alter = other_blocks
        look(sponsor)
        assert world.phase() == "IDLE"
        event, message = sponsor.events[-1]
        assert event == "delayed"
        assert "the nodes disagree about block" in message
        other.alter = lambda request, answer: None
        look(sponsor)
    assert world.phase() == "DRAW"


def test_witness_that_is_away_is_told_and_not_waited_for(world: ChaosWorld) -> None:
    (sponsor,) = world.of(Sponsor)
    with RpcProxy(world.node.rpc_url) as other:
        other.fault = lambda request: "refuse"
        sponsor.agent.lookout.witness = Witness(other.url, sponsor.agent.gateway.connection, sponsor.agent.report)
        assert "the witness does not answer" in dict(sponsor.events)["witness"]
        look(sponsor)
    assert world.phase() == "DRAW"


def test_witness_that_is_silent_keeps_nobody_waiting(world: ChaosWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that takes questions and gives no answers: each look would wait a minute for it."""
    monkeypatch.setattr(agent_witness, "WAIT_SECONDS", 0.5)
    (sponsor,) = world.of(Sponsor)
    with RpcProxy(world.node.rpc_url) as other:
        sponsor.agent.lookout.witness = Witness(other.url, sponsor.agent.gateway.connection, sponsor.agent.report)
        other.fault = lambda request: "hang"
        began = time.monotonic()
        for _ in range(5):
            look(sponsor)
        assert time.monotonic() - began < 10
        assert sum(event == "witness" for event, _ in sponsor.events) == 1, "told once, and asked again later"
    assert world.phase() == "COMMIT"


def test_witness_of_another_chain_is_refused(world: ChaosWorld) -> None:
    connection = world.gateway.connection
    with start_node("anvil", chain_id=7) as other, pytest.raises(WrongChain, match="serves chain 7"):
        Witness(other.rpc_url, connection, lambda *_told, **_fields: None)
    with start_node("anvil") as twin, RpcProxy(twin.rpc_url) as proxy:

        def other_genesis(request: dict[str, Any], answer: dict[str, Any]) -> None:
            if request["method"] == "eth_getBlockByNumber":
                answer["result"]["hash"] = "0x" + 64 * "e"

        proxy.alter = other_genesis
        with pytest.raises(WrongChain, match="another chain of the same id"):
            Witness(proxy.url, connection, lambda *_told, **_fields: None)
