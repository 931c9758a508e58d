"""What a transaction opened: salts and quorum proofs are in calldata, not in events."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.auditor.index.events import INTERFACES, Event, named_type, snake
from deltaproof.auditor.index.reader import Index
from deltaproof.chain.abi.compiled import compiled

__all__ = ["Call", "call_behind", "called_directly", "decode_call"]

Call = tuple[str, dict[str, Any]]
"""Function and its arguments by name."""


def call_behind(index: Index, event: Event) -> Call | None:
    """The call of the event's contract that the transaction made directly.

    None if the transaction went through another contract (a smart account, a multicall): its calldata then has to be
    traced, which few endpoints offer. None, too, if the calldata is malformed.
    """
    transaction = index.transaction(event.transaction)
    if transaction is None or not called_directly(index, event):
        return None
    return decode_call(event.contract, transaction.input)


def called_directly(index: Index, event: Event) -> bool:
    """Whether an event's transaction called the event's contract itself, so that its calldata shows the call."""
    transaction = index.transaction(event.transaction)
    return transaction is not None and transaction.recipient == index.deployment.contracts[event.contract]


def decode_call(contract: str, data: bytes) -> Call | None:
    """A call by name; None for another function or malformed calldata."""
    entry = _functions(contract).get(data[:4])
    if entry is None:
        return None
    try:
        values = abi_decode([collapse_if_tuple(dict(item)) for item in entry["inputs"]], data[4:])
    except (DecodingError, ValueError, OverflowError):
        return None
    pairs = zip(entry["inputs"], values, strict=True)
    return entry["name"], {snake(item["name"]): named_type(item, value) for item, value in pairs}


@lru_cache(maxsize=16)
def _functions(contract: str) -> Mapping[bytes, Mapping[str, Any]]:
    entries = [entry for entry in compiled(INTERFACES[contract]).abi if entry["type"] == "function"]
    return {keccak(text=abi_to_signature(entry))[:4]: entry for entry in entries}  # type: ignore[arg-type]
