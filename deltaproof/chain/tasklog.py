"""The events of one task, followed as blocks come: what participants learn of each other in a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.events.base import RoundEvent, TaskEvent
from deltaproof.chain.events.participants import (
    AttestationRevealed,
    BatchCommitted,
    BatchRevealed,
    Committed,
    Revealed,
)
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.events.rounds import RoundEnded, SettlementPosted, SettlementVoided, ValidationRevealed
from deltaproof.chain.rpc.connection import Connection
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, address_bytes

__all__ = ["TaskLog"]

FOLLOWED = (
    AttestationRevealed,
    BatchCommitted,
    BatchRevealed,
    Committed,
    Revealed,
    RoundEnded,
    SettlementPosted,
    SettlementVoided,
    ValidationRevealed,
)

E = TypeVar("E", bound=RoundEvent)


class TaskLog:
    """A task's round events from `first_block` on. Starts anew after a reorganisation below what it has read."""

    def __init__(
        self, connection: Connection, contracts: Sequence[Address], task_id: TaskId, first_block: int = 0
    ) -> None:
        self._connection = connection
        self._reader = LogReader(connection, contracts)
        self._task_id = task_id
        self._first_block = first_block
        self._events: list[RoundEvent] = []
        self._read_to = first_block - 1
        self._read_hash = ZERO_DIGEST

    def refresh(self) -> None:
        """Read what came since the last call. Raises ChainUnavailable or ChainError."""
        head = self._connection.block()
        number, digest = int(head["number"]), Digest32(bytes(head["hash"]))
        if self._read_to >= self._first_block:
            if number < self._read_to or self._hash_of(self._read_to) != self._read_hash:
                self._forget()
            elif number == self._read_to:
                return
        for logged in self._reader.read(self._read_to + 1, number, FOLLOWED):
            event = logged.event
            if isinstance(event, TaskEvent) and isinstance(event, RoundEvent) and event.task_id == self._task_id:
                self._events.append(event)
        self._read_to, self._read_hash = number, digest

    def of(self, kind: type[E], round_: RoundIndex) -> list[E]:
        """The round's events of a kind, in chain order, as of the last `refresh`."""
        return [event for event in self._events if isinstance(event, kind) and event.round == round_]

    def committed(self, round_: RoundIndex) -> list[Address]:
        """Trainers who committed, directly or in a batch, in the order of their commitments."""
        order: list[Address] = []
        for event in self._events:
            if event.round == round_ and isinstance(event, Committed):
                order.append(event.trainer)
            elif event.round == round_ and isinstance(event, BatchCommitted):
                order.extend(event.trainers)
        return order

    def reveals(self, round_: RoundIndex) -> dict[Address, RevealData]:
        """What was revealed, by trainer. The salt of a direct reveal is no part of its event: zero here."""
        found = {
            event.trainer: RevealData(event.delta_digest, event.transcript_root, ZERO_DIGEST)
            for event in self.of(Revealed, round_)
        }
        for batch in self.of(BatchRevealed, round_):
            for entry in batch.entries:
                if entry.salt != ZERO_DIGEST or entry.delta_digest != ZERO_DIGEST:
                    found[entry.trainer] = RevealData(entry.delta_digest, entry.transcript_root, entry.salt)
        return found

    def sorted_trainers(self, round_: RoundIndex) -> list[Address]:
        """Trainers who committed, in the order of settlement leaves."""
        return sorted(self.committed(round_), key=address_bytes)

    def _forget(self) -> None:
        self._events = []
        self._read_to = self._first_block - 1
        self._read_hash = ZERO_DIGEST

    def _hash_of(self, number: int) -> Digest32:
        return Digest32(bytes(self._connection.block(number)["hash"]))
