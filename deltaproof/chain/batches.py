"""Where a trainer's commitment stands in a relayed batch: what revealing it alone, and demanding it, need."""

from __future__ import annotations

from deltaproof.chain.abi.structs import CommitmentRef
from deltaproof.chain.contracts.gateway import Gateway
from deltaproof.chain.events.participants import BatchCommitted
from deltaproof.protocol.commit.commitments import batch_tree
from deltaproof.protocol.types import Address, Digest32, TaskId

__all__ = ["batch_entries", "place_in_batch"]


def batch_entries(gateway: Gateway, task_id: TaskId, batch: BatchCommitted) -> list[tuple[int, Address, Digest32]]:
    """What a batch commits to, in its order: each trainer's index in the task, the trainer, its commitment."""
    pool = gateway.trainers
    gateway.connection.prefetch([pool.view("enrolmentOf", task_id, member) for member in batch.trainers])
    return [
        (pool.enrolment(task_id, member).index, member, commitment)
        for member, commitment in zip(batch.trainers, batch.commitments, strict=True)
    ]


def place_in_batch(gateway: Gateway, task_id: TaskId, trainer: Address, batch: BatchCommitted) -> CommitmentRef:
    """The trainer's place in a batch that holds it, with its proof against the batch's root."""
    entries = batch_entries(gateway, task_id, batch)
    position = batch.trainers.index(trainer)
    proof = tuple(batch_tree(entries).proof(position))
    return CommitmentRef(batch.batch_id, entries[position][0], position, len(entries), proof)
