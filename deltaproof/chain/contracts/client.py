"""What the clients of all contracts share: typed reads and writes through one compiled interface."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from eth_abi import abi as eth_abi
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from web3.contract import Contract

from deltaproof.chain.abi.codec import decode, encode
from deltaproof.chain.abi.compiled import compiled
from deltaproof.chain.events import ContractEvent, LogReader
from deltaproof.chain.rpc.connection import Connection, View
from deltaproof.chain.rpc.sender import Receipt, TransactionSender
from deltaproof.errors import ChainError, DeploymentError, SigningKeyError
from deltaproof.protocol.types import Address

__all__ = ["ContractClient"]

T = TypeVar("T")
E = TypeVar("E", bound=ContractEvent)


class ContractClient:
    """One contract. Reads need no key; writes need a sender and return when the transaction is mined.

    Every read raises ChainUnavailable, or ContractRevert where the contract refuses the question. Every write raises
    what `TransactionSender.send` raises.
    """

    INTERFACE: ClassVar[str]

    def __init__(self, connection: Connection, address: Address, sender: TransactionSender | None = None) -> None:
        self.connection = connection
        self.address = address
        self._sender = sender
        self._contract: Contract = connection.contract(address, compiled(self.INTERFACE).abi)

    def view(self, function: str, *arguments: Any) -> View:
        """The question that a view is, e.g. for `Connection.prefetch`; `function` is its name in Solidity."""
        return self.address, bytes.fromhex(self._contract.encode_abi(function, args=encode(arguments))[2:])

    def _read(self, kind: type[T], function: str, *arguments: Any, block: int | None = None) -> T:
        """Call a view and decode its answer as `kind`; several return values decode as a record of them."""
        label = f"{self.INTERFACE.removeprefix('I')}.{function}"
        answer = self.connection.read(label, self.view(function, *arguments), block)
        types = self._output_types(function, len(arguments))
        try:
            values = eth_abi.decode(types, answer)
        except DecodingError as error:
            raise DeploymentError(f"{label}: no such contract there ({self.address}): {error}") from error
        result: T = decode(kind, values[0] if len(values) == 1 else values)
        return result

    def _output_types(self, function: str, inputs: int) -> list[str]:
        entries: list[dict[str, Any]] = [
            entry
            for entry in compiled(self.INTERFACE).abi
            if entry["type"] == "function" and entry["name"] == function and len(entry["inputs"]) == inputs
        ]
        return [collapse_if_tuple(output) for output in entries[0]["outputs"]]

    def _read_list(self, kind: type[T], function: str, *arguments: Any) -> tuple[T, ...]:
        """Call a view that answers with an array."""
        hint: Any = tuple[kind, ...]  # type: ignore[valid-type]
        items: tuple[T, ...] = self._read(hint, function, *arguments)
        return items

    def _write(self, function: str, *arguments: Any) -> Receipt:
        """Send a transaction to the contract."""
        sender, label, data = self._transaction(function, arguments)
        return sender.send(label, self.address, data)

    def _rehearse(self, function: str, *arguments: Any) -> int:
        """Most wei that the transaction could cost; raises what `_write` would raise before anything is sent."""
        sender, label, data = self._transaction(function, arguments)
        return sender.rehearse(label, self.address, data)

    def _transaction(self, function: str, arguments: tuple[Any, ...]) -> tuple[TransactionSender, str, bytes]:
        if self._sender is None:
            raise SigningKeyError(f"{function} needs a private key; this connection only reads")
        data = bytes.fromhex(self._contract.encode_abi(function, args=encode(arguments))[2:])
        return self._sender, f"{self.INTERFACE.removeprefix('I')}.{function}", data

    def _emitted(self, receipt: Receipt, kind: type[E]) -> E:
        """The one event of that kind that a transaction of ours must have caused here."""
        found = self._events(receipt, kind)
        if len(found) != 1:
            raise ChainError(f"{receipt.label}: expected one event {kind.__name__}, found {len(found)}")
        return found[0]

    def _events(self, receipt: Receipt, kind: type[E]) -> list[E]:
        """All events of that kind that a transaction of ours caused here."""
        reader = LogReader(self.connection, [self.address])
        return [entry.event for entry in reader.decoded(receipt.logs) if isinstance(entry.event, kind)]
