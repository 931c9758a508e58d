"""Who enrolled its rows before whom, where a row counts for whoever enrolled it first."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.events.participants import TrainerEnrolled
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.origin import first_block
from deltaproof.chain.rpc.blocks import BlockRef
from deltaproof.errors import BlockUnknown
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId

__all__ = ["OVERLAP_BLOCKS", "EnrolmentLog"]

OVERLAP_BLOCKS = 16
"""Blocks at the end that are read again each time: a node that lagged may have left logs of them out."""


class EnrolmentLog:
    """A task's enrolments of trainers, followed as blocks come: a round costs the blocks since the last one, not the
    task's whole life. Starts anew after a reorganisation below what it has read."""

    def __init__(self, gateway: Gateway, task_id: TaskId, cache: Path | None) -> None:
        """`cache`: a folder that remembers where the task begins."""
        self._gateway, self._task_id, self._cache = gateway, task_id, cache
        self._reader = LogReader(gateway.connection, [gateway.trainers.address])
        self._found: list[tuple[int, int, TrainerEnrolled]] = []
        self._read_to: BlockRef | None = None

    def order(self, round_: RoundIndex, trainers: Collection[Address]) -> tuple[Address, ...]:
        """The trainers in the order of the enrolments that a round found.

        Whoever left and came back with other rows counts from its last enrolment: else an early name could wait for
        rows that others show. Raises ChainError, ChainUnavailable, or BlockUnknown if the node leaves out whom the
        contract knows.
        """
        self._refresh()
        places = {event.trainer: (block, index) for block, index, event in self._found if event.active_from <= round_}
        if missing := [trainer for trainer in trainers if trainer not in places]:
            self._read_to = None  # a node that left something out may have left out more
            raise BlockUnknown(f"the node leaves out the enrolment of {', '.join(missing)}, who committed; ask again")
        return tuple(sorted(trainers, key=lambda trainer: places[trainer]))

    def _refresh(self) -> None:
        head, start = self._gateway.connection.read_block, 0
        if self._read_to is not None:
            if head == self._read_to:
                return
            if head.number >= self._read_to.number and self._hash_of(self._read_to.number) == self._read_to.hash:
                start = self._read_to.number + 1 - OVERLAP_BLOCKS
        self._read_to = None
        start = max(start, first_block(self._gateway, self._task_id, self._cache))
        fresh = [
            (logged.block_number, logged.log_index, logged.event)
            for logged in self._reader.read(start, head.number, (TrainerEnrolled,))
            if isinstance(logged.event, TrainerEnrolled) and logged.event.task_id == self._task_id
        ]
        self._found = [known for known in self._found if known[0] < start] + fresh
        self._read_to = head

    def _hash_of(self, number: int) -> Digest32:
        return Digest32(bytes(self._gateway.connection.block(number)["hash"]))
