"""A real Anvil for the tests of the chain gateway, and keys that nobody else uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deltaproof.chain import Connection, LocalAccount, SenderPolicy, TransactionSender, connect
from deltaproof.chain.local_node import Node, start_node
from tests.chain.node_calls import funded_account, rpc
from tests.worlds.gateways import GatewayWorld, world_of
from tests.worlds.simulated import UNIT, Terms

SenderFactory = Callable[..., TransactionSender]


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    with start_node("anvil") as running:
        yield running


@pytest.fixture
def connection(node: Node) -> Iterator[Connection]:
    connected = connect(node.rpc_url)
    yield connected
    rpc(connected, "evm_setAutomine", True)
    rpc(connected, "evm_mine")


@pytest.fixture
def account(connection: Connection) -> LocalAccount:
    """A funded key."""
    return funded_account(connection)


@pytest.fixture
def make_sender(connection: Connection, tmp_path: Path) -> Iterator[SenderFactory]:
    """Senders whose state lies in one folder, closed at the end."""
    opened: list[TransactionSender] = []

    def make(account: LocalAccount, **policy: Any) -> TransactionSender:
        through = policy.pop("through", connection)
        sender = TransactionSender(through, account, policy=SenderPolicy(**policy), state_folder=tmp_path / "state")
        opened.append(sender)
        return sender

    yield make
    for sender in opened:
        sender.close()


@pytest.fixture(scope="session")
def world(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayWorld]:
    """A sponsor, three trainers and three verifiers on one deployment."""
    terms = Terms(budget=90 * UNIT, verifier_stake=100 * UNIT, quorum_bps=6_000, rounds=2, window_seconds=2)
    with world_of(connect(node.rpc_url), tmp_path_factory.mktemp("state"), terms) as running:
        yield running
