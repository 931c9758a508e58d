"""The work that a trainer committed, with its salt: what demands and proofs of faults are about."""

from __future__ import annotations

from collections.abc import Mapping

from deltaproof.chain import Gateway
from deltaproof.chain.abi.calls import function_of
from deltaproof.chain.abi.dispute_structs import Work
from deltaproof.chain.abi.structs import BatchReveal, CommitmentRef, RevealData
from deltaproof.chain.batches import place_in_batch
from deltaproof.chain.events.participants import BatchCommitted, BatchRevealed, Revealed
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.origin import log_start
from deltaproof.protocol.commit.commitments import commitment_hash
from deltaproof.protocol.types import ZERO_DIGEST, Address, Digest32, RoundIndex, TaskId, address

__all__ = ["committed_work"]


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
                return _shown_alone(gateway, event, logged.transaction_hash, batches)
            case BatchCommitted() if (event.task_id, event.round) == (task_id, round_):
                batches[event.batch_id] = event
            case BatchRevealed() if (event.task_id, event.round) == (task_id, round_):
                for entry in event.entries:
                    if _is_hidden(entry):
                        continue  # it may have revealed by itself since
                    if entry.trainer == trainer and (batch := batches.get(event.batch_id)) is not None:
                        shown = RevealData(entry.delta_digest, entry.transcript_root, entry.salt)
                        return Work(task_id, round_, trainer, shown, place_in_batch(gateway, task_id, trainer, batch))
            case _:
                pass
    return None


def _shown_alone(
    gateway: Gateway, event: Revealed, transaction: Digest32, batches: Mapping[int, BatchCommitted]
) -> Work | None:
    """The work behind a reveal of one trainer, of a direct commitment or of one that came in a batch."""
    with gateway.connection.translated("eth_getTransactionByHash"):
        found = gateway.connection.web3.eth.get_transaction(transaction)  # type: ignore[arg-type]
    recipient, called, pool = found.get("to"), bytes(found["input"]), gateway.trainers.INTERFACE
    if recipient is None or address(recipient) != gateway.trainers.address:
        return None
    if (direct := function_of(pool, "reveal", 4).arguments(called)) is not None:
        data = RevealData(*map(Digest32, direct[1:]))
        work = Work(event.task_id, event.round, event.trainer, data, CommitmentRef())
        return work if _is_committed(gateway, work) else None
    if (relayed := function_of(pool, "revealFromBatch", 4).arguments(called)) is not None:
        batch = batches.get(relayed[3][0])
        if batch is None or event.trainer not in batch.trainers:
            return None
        place = place_in_batch(gateway, event.task_id, event.trainer, batch)
        return Work(event.task_id, event.round, event.trainer, RevealData(*map(Digest32, relayed[2])), place)
    return None


def _is_hidden(entry: BatchReveal) -> bool:
    """Whether a batch was revealed without this one: see `BatchReveal`."""
    return entry.salt == entry.delta_digest == ZERO_DIGEST


def _is_committed(gateway: Gateway, work: Work) -> bool:
    data, domain = work.data, gateway.domain(work.task_id, work.round)
    sealed = commitment_hash(domain, work.trainer, data.delta_digest, data.transcript_root, data.salt)
    return gateway.trainers.commitment(work.task_id, work.round, work.trainer) == sealed
