"""What tests ask of a development node beyond the standard methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from eth_account import Account
from web3 import Web3

from deltaproof.chain import Connection, LocalAccount

_keys = count(1)


def funded_account(connection: Connection) -> LocalAccount:
    account: LocalAccount = Account.from_key(next(_keys).to_bytes(32, "big"))
    rpc(connection, "anvil_setBalance", account.address, hex(10**21))
    return account


def poke(
    connection: Connection, contract: str, keys: Sequence[int], change: Callable[[int], int], offset: int = 0
) -> None:
    """Change a word of a contract's storage; `keys`: the slot of a mapping, then keys into it, the outer one first."""
    slot, *inner = keys
    for key in inner:
        slot = int.from_bytes(Web3.keccak(key.to_bytes(32, "big") + slot.to_bytes(32, "big")), "big")
    place = f"0x{slot + offset:064x}"
    word = int(rpc(connection, "eth_getStorageAt", contract, place, "latest"), 16)
    rpc(connection, "anvil_setStorageAt", contract, place, f"0x{change(word):064x}")


def rpc(connection: Connection, method: str, *arguments: Any) -> Any:
    """A raw call, for what only development nodes understand."""
    answer = connection.web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]
    assert "error" not in answer, answer
    return answer.get("result")
