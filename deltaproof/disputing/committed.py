"""The work that a trainer committed, with its salt: what demands and proofs of faults are about."""

from __future__ import annotations

from eth_abi import abi as eth_abi
from eth_utils.crypto import keccak

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import Work
from deltaproof.chain.abi.structs import CommitmentRef, RevealData
from deltaproof.chain.events.participants import BatchCommitted, BatchRevealed, Revealed
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.origin import log_start
from deltaproof.protocol.commit.commitments import batch_tree, commitment_hash
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address

__all__ = ["committed_work"]

REVEAL = keccak(text="reveal(uint64,bytes32,bytes32,bytes32)")[:4]
REVEAL_ARGUMENTS = ("uint64", "bytes32", "bytes32", "bytes32")


def committed_work(gateway: Gateway, task_id: TaskId, round_: RoundIndex, trainer: Address) -> Work | None:
    """A trainer's revealed work, as demands and proofs name it; the salt is in the calldata of the reveal.

    None if nothing was revealed, or through a contract of somebody's that hides the call. Raises ChainUnavailable.
    """
    connection = gateway.connection
    reader = LogReader(connection, [gateway.trainers.address])
    first = log_start(gateway, task_id, round_, None)
    batches: dict[int, BatchCommitted] = {}
    for logged in reader.read(first, connection.read_block.number, (Revealed, BatchCommitted, BatchRevealed)):
        event = logged.event
        match event:
            case Revealed() if (event.task_id, event.round, event.trainer) == (task_id, round_, trainer):
                data = _called(gateway, logged.transaction_hash)
                work = None if data is None else Work(task_id, round_, trainer, data, CommitmentRef())
                return work if work is not None and _is_committed(gateway, work) else None
            case BatchCommitted() if (event.task_id, event.round) == (task_id, round_):
                batches[event.batch_id] = event
            case BatchRevealed() if (event.task_id, event.round) == (task_id, round_):
                for entry in event.entries:
                    if entry.trainer == trainer and (batch := batches.get(event.batch_id)) is not None:
                        shown = RevealData(entry.delta_digest, entry.transcript_root, entry.salt)
                        return Work(task_id, round_, trainer, shown, _place(gateway, task_id, trainer, batch))
            case _:
                pass
    return None


def _called(gateway: Gateway, transaction: Digest32) -> RevealData | None:
    with gateway.connection.translated("eth_getTransactionByHash"):
        found = gateway.connection.web3.eth.get_transaction(transaction)  # type: ignore[arg-type]
    data = bytes(found["input"])
    recipient = found.get("to")
    if recipient is None or address(recipient) != gateway.trainers.address or data[:4] != REVEAL:
        return None
    if len(data) != 4 + 32 * len(REVEAL_ARGUMENTS):
        return None
    _, delta, root, salt = eth_abi.decode(REVEAL_ARGUMENTS, data[4:])
    return RevealData(Digest32(delta), Digest32(root), Digest32(salt))


def _is_committed(gateway: Gateway, work: Work) -> bool:
    data, domain = work.data, gateway.domain(work.task_id, work.round)
    sealed = commitment_hash(domain, work.trainer, data.delta_digest, data.transcript_root, data.salt)
    return gateway.trainers.commitment(work.task_id, work.round, work.trainer) == sealed


def _place(gateway: Gateway, task_id: TaskId, trainer: Address, batch: BatchCommitted) -> CommitmentRef:
    entries = [
        (gateway.trainers.enrolment(task_id, member).index, member, commitment)
        for member, commitment in zip(batch.trainers, batch.commitments, strict=True)
    ]
    position = batch.trainers.index(trainer)
    proof = tuple(batch_tree(entries).proof(position))
    return CommitmentRef(batch.batch_id, entries[position][0], position, len(entries), proof)
