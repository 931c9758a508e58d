"""Structs of `IDisputeCourt.sol` and `IFaultProver.sol`: what disputes are about and what proves a fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from deltaproof.chain.abi.enums import Component
from deltaproof.chain.abi.structs import CommitmentRef, RevealData
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = [
    "ChunkOpening",
    "CourtParams",
    "Demand",
    "DemandKind",
    "RecordOpening",
    "Revote",
    "RevotePhase",
    "StepEvidence",
    "VectorChunk",
    "Work",
]


class DemandKind(IntEnum):
    """What a demand asks for."""

    NONE = 0
    OPENING = 1
    SCORE = 2


class RevotePhase(IntEnum):
    """Where a re-vote stands or how it ended."""

    NONE = 0
    DRAW = 1
    COMMIT = 2
    REVEAL = 3
    UPHELD = 4
    OVERTURNED = 5
    UNDECIDED = 6


@dataclass(frozen=True)
class CourtParams:
    """Bonds, shares and times of all disputes."""

    demand_bond: TokenAmount
    revote_bond: TokenAmount
    winner_bps: int
    committee_bps: int
    committee_size: int
    answer_seconds: int
    vote_seconds: int


@dataclass(frozen=True)
class Demand:
    """A request that somebody shows something on chain."""

    kind: DemandKind
    task_id: TaskId
    round: RoundIndex
    respondent: Address
    challenger: Address
    deadline: int
    subject: Address
    step: int
    component: Component
    chunk: int
    transcript_root: Digest32
    closed: bool


@dataclass(frozen=True)
class Revote:
    """A larger committee's vote on a settlement."""

    phase: RevotePhase
    task_id: TaskId
    round: RoundIndex
    challenger: Address
    deadline: int
    members: int
    committed: int
    upholding: int
    overturning: int
    seed_request: int
    settlement: Digest32
    evidence_digest: Digest32


@dataclass(frozen=True)
class ChunkOpening:
    """A record with its place in the transcript tree, and one chunk of one of its vectors."""

    record: bytes = field(repr=False)
    record_proof: tuple[Digest32, ...] = field(repr=False)
    chunk_data: bytes = field(repr=False)
    chunk_proof: tuple[Digest32, ...] = field(repr=False)


@dataclass(frozen=True)
class Work:
    """The work that a trainer committed in the current round."""

    task_id: TaskId
    trainer: Address
    data: RevealData
    ref: CommitmentRef


@dataclass(frozen=True)
class RecordOpening:
    """A record with its place in the transcript tree."""

    step: int
    record: bytes = field(repr=False)
    proof: tuple[Digest32, ...] = field(repr=False)


@dataclass(frozen=True)
class VectorChunk:
    """A chunk of one vector under a record; two more siblings to the state root unless it is of the gradient."""

    component: Component
    chunk: int
    data: bytes = field(repr=False)
    proof: tuple[Digest32, ...] = field(repr=False)


@dataclass(frozen=True)
class StepEvidence:
    """One optimiser step seen at one chunk; see `IFaultProver.StepEvidence`."""

    element: int
    before: RecordOpening
    afterwards: RecordOpening
    before_chunks: tuple[VectorChunk, ...]
    gradient: VectorChunk
    after_chunks: tuple[VectorChunk, ...]
    constants: bytes = field(repr=False)
    constants_proof: tuple[Digest32, ...] = field(repr=False)
