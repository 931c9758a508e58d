"""Events of the contracts: from logs to named, typed arguments, and to text and back.

Names are snake case. Values in memory: integers, booleans, checksummed addresses, bytes, tuples, and a dict for each
struct. As text: canonical JSON with bytes as `0x` hexadecimal, so that equal events have equal rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature, collapse_if_tuple
from eth_utils.crypto import keccak

from deltaproof.chain.abi.compiled import compiled
from deltaproof.errors import ChainError
from deltaproof.protocol.types import Address, Digest32, address

__all__ = ["INTERFACES", "Event", "EventType", "event_type", "event_types", "named_type", "snake"]

INTERFACES: Mapping[str, str] = {
    "registry": "IStakeRegistry",
    "beacon": "IDrandBeacon",
    "terms": "ITaskTerms",
    "tasks": "ITaskManager",
    "trainers": "ITrainerPool",
    "verifiers": "IVerifierPool",
    "vault": "IRewardVault",
    "fees": "IVerifierFees",
    "court": "IDisputeCourt",
    "jury": "IJury",
    "faults": "IFaultProver",
    "settlements": "ISettlementProver",
}
"""Interface of each contract of a deployment, by its name in `Modules` and in that order."""

AbiEntry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One event, and where it is on the chain."""

    block: int
    log_index: int
    transaction: str
    contract: str
    """Name of the contract in `Modules`."""
    name: str
    args: Mapping[str, Any] = field(repr=False)

    @property
    def position(self) -> tuple[int, int]:
        """Order on the chain."""
        return (self.block, self.log_index)

    def digest(self, name: str) -> Digest32:
        """An argument that is a digest."""
        return Digest32(self.args[name])


@dataclass(frozen=True)
class EventType:
    """How one event of one contract is written in a log."""

    contract: str
    name: str
    topic: bytes
    inputs: tuple[AbiEntry, ...]

    def decode(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """Arguments by name. Raises ChainError for a log that does not fit."""
        indexed = [item for item in self.inputs if item["indexed"]]
        plain = [item for item in self.inputs if not item["indexed"]]
        try:
            if len(topics) != len(indexed) + 1:
                raise ValueError(f"{len(topics)} topics")
            values = {item["name"]: _word(item["type"], topic) for item, topic in zip(indexed, topics[1:], strict=True)}
            decoded = abi_decode([collapse_if_tuple(dict(item)) for item in plain], data) if plain else ()
            values |= {item["name"]: named_type(item, value) for item, value in zip(plain, decoded, strict=True)}
        except (DecodingError, ValueError, OverflowError) as error:
            raise ChainError(f"a log of {self.contract} is no {self.name} event: {error}") from error
        return {snake(item["name"]): values[item["name"]] for item in self.inputs}

    def dump(self, args: Mapping[str, Any]) -> str:
        """Arguments as text."""
        return json.dumps(_plain(args), sort_keys=True, separators=(",", ":"))

    def load(self, text: str) -> dict[str, Any]:
        """Arguments from text."""
        values = json.loads(text)
        return {snake(item["name"]): _restored(item, values[snake(item["name"])]) for item in self.inputs}

    def subjects(self, args: Mapping[str, Any]) -> Iterator[Address]:
        """Accounts that the event is about, each once."""
        yield from dict.fromkeys(_addresses(args))


@lru_cache(maxsize=1)
def event_types() -> Mapping[tuple[str, bytes], EventType]:
    """Every event by (contract name in `Modules`, topic)."""
    types = {}
    for contract, interface in INTERFACES.items():
        for entry in compiled(interface).abi:
            if entry["type"] == "event":
                topic = keccak(text=abi_to_signature(entry))  # type: ignore[arg-type]
                types[contract, topic] = EventType(contract, entry["name"], topic, tuple(entry["inputs"]))
    return types


@lru_cache(maxsize=256)
def event_type(contract: str, name: str) -> EventType:
    """The event of that name. Raises KeyError."""
    for candidate in event_types().values():
        if (candidate.contract, candidate.name) == (contract, name):
            return candidate
    raise KeyError(f"{contract} has no event {name}")


@lru_cache(maxsize=1024)
def snake(name: str) -> str:
    """`verdictsDigest` as `verdicts_digest`, `keyG1` as `key_g1`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def named_type(item: AbiEntry, value: Any) -> Any:
    """A decoded ABI value with names for the fields of structs, checksummed addresses and tuples for lists."""
    kind: str = item["type"]
    if kind.endswith("]"):
        inner = {**item, "type": kind[: kind.rindex("[")]}
        return tuple(named_type(inner, part) for part in value)
    if kind == "tuple":
        parts = zip(item["components"], value, strict=True)
        return {snake(part["name"]): named_type(part, entry) for part, entry in parts}
    return _address(value) if kind == "address" else value


def _word(kind: str, word: bytes) -> Any:
    """A static value from one 32-byte word."""
    if len(word) != 32:
        raise ValueError(f"a topic of {len(word)} bytes")
    if kind == "address":
        return _address(word[12:])
    if kind == "bytes32":
        return bytes(word)
    number = int.from_bytes(word, "big", signed=kind.startswith("int"))
    return bool(number) if kind == "bool" else number


@lru_cache(maxsize=65536)
def _address(value: str | bytes) -> Address:
    return address(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _restored(item: AbiEntry, value: Any) -> Any:
    kind: str = item["type"]
    if kind.endswith("]"):
        inner = {**item, "type": kind[: kind.rindex("[")]}
        return tuple(_restored(inner, part) for part in value)
    if kind == "tuple":
        return {snake(part["name"]): _restored(part, value[snake(part["name"])]) for part in item["components"]}
    return bytes.fromhex(value[2:]) if kind.startswith("bytes") else value


def _addresses(value: Any) -> Iterator[Address]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _addresses(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _addresses(item)
    elif isinstance(value, str):
        yield Address(value)
