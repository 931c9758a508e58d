"""How many calls a running role makes, and where it begins to read on a long chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deltaproof.agent.patience import IDLE_POLL_SECONDS
from deltaproof.chain import connect
from deltaproof.chain.abi.enums import Phase
from deltaproof.chain.local_node import start_node
from deltaproof.chain.origin import first_block, log_start
from deltaproof.chain.rpc.blocks import HeadFollower
from deltaproof.chain.tasklog import TaskLog
from deltaproof.protocol.types import RoundIndex
from tests.chain.rpc_proxy import RpcProxy
from tests.chaos.chaos_world import chaos_world
from trainer.life import Trainer
from verifier.life import Verifier

FIRST = RoundIndex(1)


def test_idle_roles_make_fewer_than_sixty_calls_a_minute_however_many_take_part(tmp_path: Path) -> None:
    """One call a look, one more for a new block. Even with a block between any two looks that is under 60 a minute."""
    with start_node("anvil", accounts=12) as node, chaos_world(node, tmp_path, trainers=3) as world:
        for role in world.roles[:-1]:  # one verifier stays away, so that no round opens
            role.agent.join()
        for role in world.roles[:-1]:
            role.agent._cycle()
            role.proxy.seen.clear()
            assert not role.agent._cycle()
            assert role.proxy.seen == ["eth_getBlockByNumber"], role.name
            world.raw("evm_mine")
            role.proxy.seen.clear()
            role.agent._cycle()
            assert len(role.proxy.seen) <= 2, (role.name, role.proxy.seen)
            assert 2 * 60 / IDLE_POLL_SECONDS < 60


def test_enrolment_that_a_reorganisation_takes_is_made_again_and_only_then(tmp_path: Path) -> None:
    """Looking at blocks behind the newest, a role must not take an enrolment for lost that is only young."""
    with start_node("anvil", accounts=12) as node, chaos_world(node, tmp_path, trainers=1, verifiers=1) as world:
        people = [role.agent for role in world.roles if isinstance(role.agent, Trainer | Verifier)]
        before = world.gateway.connection.block_number()
        for agent in people:
            agent.join()
        joined_in = world.gateway.connection.block_number() - before
        stakes = world.stakes()
        for agent in people:
            agent.lookout.depth = joined_in  # whatever it acts on is older than its enrolment
            agent.gateway.connection._pin.heads = HeadFollower()
            agent._cycle()
        assert world.stakes() == stakes
        assert world.gateway.connection.block_number() == before + joined_in, "nothing was sent"
        world.raw("anvil_reorg", joined_in, [])
        assert not any(agent.joined() for agent in people)
        verifier = people[-1]
        assert isinstance(verifier, Verifier)
        assert not verifier._my_turn(FIRST, Phase.DRAW), "who is not enrolled has no place in the order"
        for agent in people:
            agent.lookout.depth = 0
            agent.gateway.connection._pin.heads = HeadFollower()
            agent._cycle()
            assert agent.joined()
        assert world.stakes() == stakes


def test_start_on_a_long_chain_takes_few_calls_and_reads_no_old_logs(tmp_path: Path) -> None:
    with start_node("anvil", accounts=12) as node:
        quiet = connect(node.rpc_url)
        quiet.web3.provider.make_request("anvil_mine", [hex(400)])  # type: ignore[arg-type]
        with chaos_world(node, tmp_path, trainers=1, verifiers=1) as world, RpcProxy(node.rpc_url) as proxy:
            created = world.gateway.connection.block_number()
            world.raw("anvil_mine", hex(400))
            gateway = type(world.gateway)(connect(proxy.url), world.gateway.deployment)
            found = first_block(gateway, world.task, tmp_path / "cache")
            assert 400 < found <= created
            assert world.gateway.terms.task_count(found) >= world.task > world.gateway.terms.task_count(found - 1)
            assert len(proxy.seen) < 50
            proxy.seen.clear()
            assert first_block(gateway, world.task, tmp_path / "cache") == found
            assert not proxy.seen, "remembered: nobody is asked"
            (tmp_path / "no folder").write_text("where the disk takes nothing")
            assert first_block(gateway, world.task, tmp_path / "no folder") == found
            TaskLog(gateway, [gateway.trainers.address], world.task, tmp_path / "cache").refresh(FIRST)
            assert proxy.seen.count("eth_getLogs") < 10


def test_pruned_node_starts_earlier_instead_of_failing(tmp_path: Path) -> None:
    with (
        start_node("anvil", accounts=12) as node,
        chaos_world(node, tmp_path, trainers=1, verifiers=1) as world,
        RpcProxy(node.rpc_url) as proxy,
    ):

        def pruned(request: dict[str, Any]) -> dict[str, Any] | None:
            old = request["method"] in ("eth_getCode", "eth_call") and str(request["params"][-1]).startswith("0x")
            return {"code": -32000, "message": "missing trie node: state is not available"} if old else None

        gateway = type(world.gateway)(connect(proxy.url), world.gateway.deployment)
        proxy.fault = pruned
        assert log_start(gateway, world.task, FIRST, None) == gateway.deployment.block


@pytest.mark.parametrize("content", ["", "{}", '{"block": -1}', '{"block": 7, "task": 1}'])
def test_damaged_memory_of_the_first_block_is_not_believed(tmp_path: Path, content: str) -> None:
    from deltaproof.chain.origin import _remembered

    (tmp_path / "first-block.json").write_text(content)
    assert _remembered(tmp_path / "first-block.json", {"genesis": "x", "contract": "y", "task": 1}) is None
