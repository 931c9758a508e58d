"""Who enrolled its rows before whom, where a row counts for whoever enrolled it first."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.events.participants import TrainerEnrolled
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.origin import first_block
from deltaproof.errors import BlockUnknown
from deltaproof.protocol.types import Address, RoundIndex, TaskId

__all__ = ["enrolment_order"]


def enrolment_order(
    gateway: Gateway, task_id: TaskId, round_: RoundIndex, trainers: Collection[Address], cache: Path | None
) -> tuple[Address, ...]:
    """The trainers in the order of the enrolments that a round found.

    Whoever left and came back with other rows counts from its last enrolment: else an early name could wait for rows
    that others show. `cache`: a folder that remembers where the task begins. Raises ChainError, ChainUnavailable, or
    BlockUnknown if the node leaves out whom the contract knows.
    """
    reader = LogReader(gateway.connection, [gateway.trainers.address])
    last = gateway.connection.read_block.number
    found: dict[Address, tuple[int, int]] = {}
    for logged in reader.read(first_block(gateway, task_id, cache), last, (TrainerEnrolled,)):
        event = logged.event
        if isinstance(event, TrainerEnrolled) and event.task_id == task_id and event.active_from <= round_:
            found[event.trainer] = (logged.block_number, logged.log_index)
    if missing := [trainer for trainer in trainers if trainer not in found]:
        raise BlockUnknown(f"the node leaves out the enrolment of {', '.join(missing)}, who committed; ask again")
    return tuple(sorted(trainers, key=lambda trainer: found[trainer]))
