"""What tests ask of a development node beyond the standard methods."""

from __future__ import annotations

from itertools import count
from typing import Any

from eth_account import Account

from deltaproof.chain import Connection, LocalAccount

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
