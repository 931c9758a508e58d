"""What the clients of all contracts share: typed reads and writes through one compiled interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from eth_abi.exceptions import DecodingError

from deltaproof.chain.abi.calls import Function, function_of
from deltaproof.chain.abi.codec import decode, encode
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

    def view(self, function: str, *arguments: Any) -> View:
        """The question that a view is, e.g. for `Connection.prefetch`; `function` is its name in Solidity."""
        return self.address, self._function(function, arguments).call(encode(arguments))

    def _read(self, kind: type[T], function: str, *arguments: Any, block: int | None = None) -> T:
        """Call a view and decode its answer as `kind`; several return values decode as a record of them."""
        asked = self._function(function, arguments)
        answer = self.connection.read(asked.label, self.view(function, *arguments), block)
        try:
            values = asked.answer(answer)
        except DecodingError as error:
            raise DeploymentError(f"{asked.label}: no such contract there ({self.address}): {error}") from error
        result: T = decode(kind, values[0] if len(values) == 1 else values)
        return result

    def _function(self, name: str, arguments: Sequence[Any]) -> Function:
        return function_of(self.INTERFACE, name, len(arguments))

    def _read_list(self, kind: type[T], function: str, *arguments: Any) -> tuple[T, ...]:
        """Call a view that answers with an array."""
        hint: Any = tuple[kind, ...]  # type: ignore[valid-type]
        items: tuple[T, ...] = self._read(hint, function, *arguments)
        return items

    def _write(self, function: str, *arguments: Any, behind: bytes = b"") -> Receipt:
        """Send a transaction to the contract; what stands `behind` the arguments is for readers of calldata."""
        sender, label, data = self._transaction(function, arguments)
        return sender.send(label, self.address, data + behind)

    def _rehearse(self, function: str, *arguments: Any) -> int:
        """Most wei that the transaction could cost; raises what `_write` would raise before anything is sent."""
        sender, label, data = self._transaction(function, arguments)
        return sender.rehearse(label, self.address, data)

    def _transaction(self, function: str, arguments: tuple[Any, ...]) -> tuple[TransactionSender, str, bytes]:
        if self._sender is None:
            raise SigningKeyError(f"{function} needs a private key; this connection only reads")
        called = self._function(function, arguments)
        return self._sender, called.label, called.call(encode(arguments))

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
