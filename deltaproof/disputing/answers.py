"""Faults that a trainer's own answer to a demand shows: the court takes any chunk that was committed, also a bad one.

A store refuses an opening with a value that is not a number, so such a value comes to light only here.
"""

from __future__ import annotations

import numpy as np

from deltaproof.chain import Gateway
from deltaproof.chain.abi.dispute_structs import ChunkOpening, Demand, DemandKind, RecordOpening, VectorChunk
from deltaproof.chain.abi.enums import Component, Fault
from deltaproof.chain.contracts.disputes import FaultProver
from deltaproof.chain.events.disputes import OpeningAnswered
from deltaproof.chain.events.reader import LogReader
from deltaproof.chain.origin import log_start
from deltaproof.disputing.works import TrainerFault
from deltaproof.protocol.rules import CHUNK_VALUES

__all__ = ["answer_to", "fault_in_answer"]

MOMENTS = (Component.FIRST_MOMENT, Component.SECOND_MOMENT)


def answer_to(gateway: Gateway, number: int, demand: Demand) -> ChunkOpening | None:
    """The chunk that the trainer showed; None if the demand asked for something else or was not answered."""
    if demand.kind is not DemandKind.OPENING or not demand.closed:
        return None
    first = log_start(gateway, demand.task_id, demand.round, None)
    reader, last = LogReader(gateway.connection, [gateway.court.address]), gateway.connection.read_block.number
    for logged in reader.read(first, last, (OpeningAnswered,)):
        if isinstance(logged.event, OpeningAnswered) and logged.event.demand_id == number:
            return logged.event.opening
    return None


def fault_in_answer(demand: Demand, answer: ChunkOpening) -> TrainerFault | None:
    """What the answer proves against the trainer: a value that is not finite, or a moment that record 0 does not start
    from zero. None if it is in order."""
    values = np.frombuffer(answer.chunk_data, dtype="<f4")
    record = RecordOpening(demand.step, answer.record, answer.record_proof)
    chunk = VectorChunk(demand.component, demand.chunk, answer.chunk_data, answer.chunk_proof)
    if (odd := np.flatnonzero(~np.isfinite(values))).size:
        element = demand.chunk * CHUNK_VALUES + int(odd[0])
        return TrainerFault(
            Fault.NON_FINITE_VALUE, demand.step, f"record {demand.step} holds a value that is no number ({element})",
            FaultProver.prove_non_finite, (record, chunk, element),
        )  # fmt: skip
    if demand.step == 0 and demand.component in MOMENTS and (warm := np.flatnonzero(values)).size:
        element = demand.chunk * CHUNK_VALUES + int(warm[0])
        return TrainerFault(
            Fault.WRONG_START, 0, f"record 0 has a moment that is not zero (value {element})",
            FaultProver.prove_warm_start, (record, chunk, element),
        )  # fmt: skip
    return None
