"""Endpoints that fail, lag or lie, in front of a real node."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_abi import abi as eth_abi

from deltaproof.chain import Connection, connect
from deltaproof.chain.local_node import Node, start_node
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.errors import BlockUnknown, ChainUnavailable, ContractRevert, WrongChain
from deltaproof.protocol.types import Digest32, RoundIndex, TaskId, address
from tests.chain.node_calls import rpc
from tests.chain.rpc_proxy import Fault, LaggingPool, RawAnswer, RpcProxy
from tests.worlds.gateways import GatewayWorld

FAULTS: dict[str, Fault] = {
    "down": lambda request: "refuse",
    "dropped": lambda request: "drop",
    "hanging": lambda request: "hang",
    "internal error": lambda request: RawAnswer(500, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}'),
    "too many requests": lambda request: RawAnswer(429, b"slow down"),
    "rate limit as JSON": lambda request: {"code": -32005, "message": "daily request count exceeded"},
    "html": lambda request: RawAnswer(200),
    "json of another kind": lambda request: RawAnswer(200, b"[1, 2, 3]"),
}


@pytest.fixture
def proxy(node: Node) -> Iterator[RpcProxy]:
    with RpcProxy(node.rpc_url) as running:
        yield running


@pytest.mark.parametrize("kind", FAULTS)
def test_failing_endpoint_alone_is_chain_unavailable(proxy: RpcProxy, kind: str) -> None:
    connection = connect(proxy.url, timeout_seconds=0.3)
    proxy.fault = FAULTS[kind]
    with pytest.raises(ChainUnavailable, match=r"http://127\.0\.0\.1:"):
        connection.block()
    proxy.fault = lambda request: None
    assert connection.block()["number"] >= 0


@pytest.mark.parametrize("reason", ["rate limit reached, try again", "timeout", "header not found", "unknown block"])
def test_reason_of_a_contract_is_no_word_of_the_node(connection: Connection, reason: str) -> None:
    """Attack: a reward token that refuses in the words of a busy node, so that whoever has a claim to it takes the node
    for away, and does nothing else either."""
    data = bytes.fromhex("08c379a0") + eth_abi.encode(["string"], [reason])
    # CODECOPY(0, 14, size) and REVERT(0, size), then what is copied.
    code = bytes.fromhex(f"61{len(data):04x}600e60003961{len(data):04x}6000fd") + data
    with pytest.raises(ContractRevert, match=reason), connection.translated("a call"):
        connection.web3.eth.call({"data": "0x" + code.hex()})  # type: ignore[typeddict-item]


def test_blocks_that_authorities_sign_are_read(proxy: RpcProxy) -> None:
    """Their `extraData` is longer than Ethereum allows: on Polygon, BNB Smart Chain and private chains of Clique."""

    def signed(request: dict[str, Any], answer: dict[str, Any]) -> None:
        if isinstance(answer.get("result"), dict) and "extraData" in answer["result"]:
            answer["result"]["extraData"] = "0x" + "ab" * 97

    proxy.alter = signed
    connection = connect(proxy.url)
    assert connection.web3.eth.get_block("latest")["proofOfAuthorityData"] == bytes.fromhex("ab" * 97)
    assert connection.block()["number"] >= 0


@pytest.mark.parametrize("kind", FAULTS)
def test_failing_endpoint_with_another_is_not_noticed(proxy: RpcProxy, node: Node, kind: str) -> None:
    connection = connect(f"{proxy.url},{node.rpc_url}", timeout_seconds=0.3)
    proxy.fault = FAULTS[kind]
    started = time.monotonic()
    for _ in range(20):
        connection.block()
    assert time.monotonic() - started < 5, "a failed endpoint rests instead of being asked each time"


def test_proxy_that_the_environment_names_is_used_and_looked_up_once(
    proxy: RpcProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url)
    connection = connect("http://chain.example")
    monkeypatch.delenv("http_proxy")
    assert connection.head().number >= 0


def test_second_endpoint_of_another_chain_is_refused(proxy: RpcProxy, node: Node) -> None:
    with start_node("anvil", chain_id=5) as other, pytest.raises(WrongChain, match=r"take it out of --rpc"):
        connect(f"{node.rpc_url},{other.rpc_url}")


def test_endpoint_that_turns_into_another_chain_is_left_alone(
    proxy: RpcProxy, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deltaproof.chain.rpc.endpoints.FIRST_REST_SECONDS", 0.0)
    connection = connect(f"{proxy.url},{node.rpc_url}")

    def another_chain(request: dict[str, Any], answer: dict[str, Any]) -> None:
        if request["method"] == "eth_chainId":
            answer["result"] = "0x5"

    requests = itertools.count()
    proxy.alter = another_chain
    proxy.fault = lambda request: "refuse" if next(requests) == 0 else None  # after a failure it is looked at again
    proxy.seen.clear()
    for _ in range(5):
        assert connection.block()["number"] >= 0
    assert proxy.seen[:3] == ["eth_getBlockByNumber", "eth_chainId", "eth_getBlockByNumber"], proxy.seen
    assert set(proxy.seen[3:]) <= {"eth_chainId", "eth_getBlockByNumber"}
    assert proxy.seen.count("eth_chainId") == 5 - 1, "never believed again: it has to show its chain each time"


def test_urls_in_messages_keep_access_keys_secret(proxy: RpcProxy) -> None:
    proxy.fault = lambda request: RawAnswer(500)
    with pytest.raises(ChainUnavailable) as refused:
        connect(f"{proxy.url}/v3/secret-key", timeout_seconds=0.3)
    assert "secret-key" not in str(refused.value)


def test_many_views_at_one_block_cost_one_call(world: GatewayWorld, proxy: RpcProxy) -> None:
    connection = connect(proxy.url)
    gateway = type(world.sponsor)(connection, world.deployment)
    with connection.reading_at(connection.head()):
        before = len(proxy.seen)
        connection.prefetch([gateway.terms.view("taskCount"), gateway.registry.view("token")])
        gateway.terms.task_count()
        gateway.registry.token()
        assert proxy.seen[before:] == ["eth_call"]
        with pytest.raises(ContractRevert, match="UnknownTask"):
            gateway.task(TaskId(10**6))


def test_views_whose_answers_are_too_long_for_one_call_are_asked_in_smaller_ones(
    world: GatewayWorld, proxy: RpcProxy
) -> None:
    """A trainer's work has ten words and more: of 64 trainers they are longer than a contract may be (EIP-170)."""
    connection = connect(proxy.url)
    gateway = type(world.sponsor)(connection, world.deployment)
    trainers = [address(n.to_bytes(20, "big")) for n in range(1, 101)]
    pool, place = gateway.trainers, (TaskId(1), RoundIndex(1))
    with connection.reading_at(connection.head()):
        before = len(proxy.seen)
        connection.prefetch([pool.view("workOf", *place, trainer) for trainer in trainers])
        assert not any(pool.work(*place, trainer).revealed for trainer in trainers)
        asked = proxy.seen[before:]
    assert asked == ["eth_call"] * (1 + 4), "one that was too long, and four of at most 32"


def test_node_that_runs_no_batches_is_asked_one_by_one(world: GatewayWorld, proxy: RpcProxy) -> None:
    connection = connect(proxy.url)
    gateway = type(world.sponsor)(connection, world.deployment)
    proxy.fault = lambda request: (
        {"code": -32602, "message": "to is required"}
        if request["method"] == "eth_call" and "to" not in request["params"][0]
        else None
    )
    with connection.reading_at(connection.head()):
        connection.prefetch([gateway.terms.view("taskCount"), gateway.registry.view("token")])
        assert gateway.terms.task_count() == world.sponsor.terms.task_count()


def test_views_at_one_block_do_not_mix_with_later_blocks(world: GatewayWorld) -> None:
    token = world.sponsor.token(world.sponsor.registry.token())
    with world.connection.reading_at(world.connection.head()):
        before = token.balance_of(world.sponsor.account)
        world.verifiers[0].token(token.address)  # another party's transaction, not ours
        rpc(world.connection, "evm_mine")
        assert token.balance_of(world.sponsor.account) == before


def test_pool_that_lags_never_answers_from_an_earlier_block(world: GatewayWorld, proxy: RpcProxy) -> None:
    connection = connect(proxy.url)
    proxy.fault = LaggingPool(proxy)
    gateway = type(world.sponsor)(connection, world.deployment)
    numbers = []
    for _ in range(6):
        rpc(world.connection, "evm_mine")
        head = patiently(connection.head)
        numbers.append(head.number)
        with connection.reading_at(head):
            assert gateway.terms.task_count() == world.sponsor.terms.task_count()
    assert numbers == sorted(numbers)


def test_block_that_no_node_has_is_said_to_be_unknown(connection: Connection, world: GatewayWorld) -> None:
    with connection.reading_at(BlockRef(1, Digest32(b"\x11" * 32), 0)), pytest.raises(BlockUnknown):
        type(world.sponsor)(connection, world.deployment).terms.task_count()


def test_head_below_one_seen_is_a_lagging_node_and_later_a_chain_that_went_back(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = connection._pin.heads
    high, low = BlockRef(9, Digest32(b"9" * 32), 90), BlockRef(7, Digest32(b"7" * 32), 70)
    assert follower.accept(high) == high
    assert follower.accept(low) == high
    monkeypatch.setattr("deltaproof.chain.rpc.blocks.LAG_SECONDS", 0.0)
    assert follower.accept(low) == low


def patiently(question: Callable[[], BlockRef]) -> BlockRef:
    for _ in range(20):
        try:
            return question()
        except ChainUnavailable:
            time.sleep(0.05)
    return question()
