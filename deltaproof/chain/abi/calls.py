"""Calls of compiled contracts as bytes, and their answers as values.

A selector and its types are looked up once. web3 checks the whole interface and hashes every signature of it for each
call that it encodes, which was an eighth of all that an agent computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from eth_abi import abi as eth_abi
from eth_abi.exceptions import DecodingError
from eth_abi.exceptions import EncodingError as UnfitValue
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.chain.abi.compiled import compiled
from deltaproof.errors import EncodingError

__all__ = ["Function", "function_of"]


@dataclass(frozen=True)
class Function:
    """One function of an interface."""

    label: str
    selector: bytes
    inputs: tuple[str, ...]
    """ABI types, tuples written out."""
    outputs: tuple[str, ...]

    def call(self, arguments: Sequence[Any]) -> bytes:
        """Selector and arguments, which are what the ABI encoder takes. Raises EncodingError if one does not fit."""
        try:
            return self.selector + eth_abi.encode(self.inputs, arguments)
        except UnfitValue as error:
            types = ", ".join(self.inputs)
            raise EncodingError(f"{self.label}: an argument does not fit ({types}): {error}") from error

    def arguments(self, data: bytes) -> tuple[Any, ...] | None:
        """Of untrusted bytes that call this function, whatever follows them; None if they call another, or are cut."""
        if not data.startswith(self.selector):
            return None
        try:
            return tuple(eth_abi.decode(self.inputs, data[len(self.selector) :], strict=False))
        except DecodingError:
            return None

    def answer(self, data: bytes) -> tuple[Any, ...]:
        """The values that a call returned. Raises eth_abi's DecodingError."""
        return tuple(eth_abi.decode(self.outputs, data))


@lru_cache(maxsize=1024)
def function_of(interface: str, name: str, inputs: int) -> Function:
    """The function of that name with so many inputs, which no two of a contract share. Raises ValueError."""
    entries = [
        entry
        for entry in compiled(interface).abi
        if entry["type"] == "function" and entry["name"] == name and len(entry["inputs"]) == inputs
    ]
    if len(entries) != 1:
        raise ValueError(f"{interface} has {len(entries)} functions {name} of {inputs} inputs")
    entry: Any = entries[0]
    return Function(
        f"{interface.removeprefix('I')}.{name}",
        keccak(text=abi_to_signature(entry))[:4],
        tuple(collapse_if_tuple(one) for one in entry["inputs"]),
        tuple(collapse_if_tuple(one) for one in entry["outputs"]),
    )
