"""A real Anvil for the tests of the chain gateway, and keys that nobody else uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from deltaproof.chain_node import Node, start_node
from protocol.chain import Connection, LocalAccount, SenderPolicy, TransactionSender, connect

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


_keys = count(1)


def funded_account(connection: Connection) -> LocalAccount:
    account: LocalAccount = Account.from_key(next(_keys).to_bytes(32, "big"))
    rpc(connection, "anvil_setBalance", account.address, hex(10**21))
    return account


def rpc(connection: Connection, method: str, *arguments: Any) -> Any:
    """A raw call, for what only development nodes understand."""
    answer = connection.web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]
    assert "error" not in answer, answer
    return answer.get("result")
