"""What the events of all contracts share.

An event class carries the Solidity event's name; its arguments come in order and in snake case. A test compares them
with the compiled interfaces, which also say what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId

__all__ = ["ContractEvent", "LoggedEvent", "RoundEvent", "TaskEvent"]


@dataclass(frozen=True)
class ContractEvent:
    """Any event."""


@dataclass(frozen=True)
class TaskEvent(ContractEvent):
    """An event that belongs to one task."""

    task_id: TaskId


@dataclass(frozen=True)
class RoundEvent(TaskEvent):
    """An event that belongs to one round of a task."""

    round: RoundIndex


@dataclass(frozen=True)
class LoggedEvent:
    """An event and where on chain it happened."""

    event: ContractEvent
    contract: Address
    block_number: int
    block_hash: Digest32
    transaction_hash: Digest32
    log_index: int
