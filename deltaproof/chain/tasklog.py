"""The events of one task, followed as blocks come: what participants learn of each other in a round."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from deltaproof.chain.abi.structs import RevealData
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.enrolments import OVERLAP_BLOCKS, EnrolmentLog
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
from deltaproof.chain.origin import log_start
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.errors import BlockUnknown
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, address_bytes
from deltaproof.reporting import counted

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


ATTEMPTS, PAUSE_SECONDS = 5, 0.3
"""Of several nodes behind one URL another may answer next time."""


class TaskLog:
    """A task's round events. Starts anew after a reorganisation below what it has read."""

    def __init__(
        self, gateway: Gateway, contracts: Sequence[Address], task_id: TaskId, cache: Path | None = None
    ) -> None:
        """`cache`: a folder that remembers where the task begins."""
        self._gateway, self._task_id, self.cache = gateway, task_id, cache
        self._contracts = tuple(contracts)
        self._reader = LogReader(gateway.connection, contracts)
        self.enrolments = EnrolmentLog(gateway, task_id, cache)
        self._events: list[tuple[int, RoundEvent]] = []
        self._first: int | None = None
        self._from_round = RoundIndex(0)
        self._read_to: BlockRef | None = None

    def refresh(self, round_: RoundIndex) -> None:
        """Read what came since the last call, up to the block that is looked at, from the round before `round_` on.

        Raises ChainUnavailable, BlockUnknown if nodes have not seen all of it yet, or ChainError.
        """
        head = self._gateway.connection.read_block
        if round_ < self._from_round:  # an older round is asked about
            self._events, self._first, self._read_to = [], None, None
        if self._read_to is not None:
            if head == self._read_to:
                return
            if head.number < self._read_to.number or self._hash_of(self._read_to.number) != self._read_to.hash:
                self._events, self._first = [], None
        if self._first is None or self._read_to is None:
            self._first = log_start(self._gateway, self._task_id, round_, self.cache)
            start, self._from_round = self._first, round_
        else:
            start = max(self._first, self._read_to.number + 1 - OVERLAP_BLOCKS)
        self._read_to = None
        for attempt in range(ATTEMPTS):
            self._read(start, head.number)
            missing = self._missing(round_)
            if not missing:
                self._read_to = head
                return
            if attempt + 1 < ATTEMPTS:
                time.sleep(PAUSE_SECONDS)
        self._first = None
        raise BlockUnknown(
            f"the node leaves out {counted(missing, 'event')} of round {round_} that the contracts count"
        )

    def _read(self, start: int, last: int) -> None:
        fresh = list(self._reader.read(start, last, FOLLOWED))
        self._events = [kept for kept in self._events if kept[0] < start]
        for logged in fresh:
            event = logged.event
            if isinstance(event, TaskEvent) and isinstance(event, RoundEvent) and event.task_id == self._task_id:
                self._events.append((logged.block_number, event))

    def _missing(self, round_: RoundIndex) -> int:
        """How many events of the running round are missing: the contracts count them."""
        trainers, verifiers = self._gateway.trainers, self._gateway.verifiers
        missing = 0
        if trainers.address in self._contracts:
            counted = trainers.progress(self._task_id)
            if counted.round == round_:
                missing += max(0, counted.committed - len(self.committed(round_)))
                missing += max(0, counted.revealed - len(self.reveals(round_)))
        if verifiers.address in self._contracts:
            attested = verifiers.progress(self._task_id)
            if attested.round == round_:
                missing += max(0, attested.revealed - len(self.of(AttestationRevealed, round_)))
        return missing

    def of(self, kind: type[E], round_: RoundIndex) -> list[E]:
        """The round's events of a kind, in chain order, as of the last `refresh`."""
        return [event for _, event in self._events if isinstance(event, kind) and event.round == round_]

    def committed(self, round_: RoundIndex) -> list[Address]:
        """Trainers who committed, directly or in a batch, in the order of their commitments."""
        order: list[Address] = []
        for _, event in self._events:
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

    def _hash_of(self, number: int) -> Digest32:
        return Digest32(bytes(self._gateway.connection.block(number)["hash"]))
