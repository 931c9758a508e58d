"""Structs of demands, votes and proofs: `IDisputeCourt`, `IJury`, `IFaultProver`, `ISettlementProver`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from deltaproof.chain.abi.enums import Component
from deltaproof.chain.abi.structs import CommitmentRef, RevealData
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = [
    "Ballot",
    "Case",
    "CasePhase",
    "ChunkOpening",
    "CourtParams",
    "Demand",
    "DemandKind",
    "JuryParams",
    "Level",
    "RecordOpening",
    "SettlementCheck",
    "StepEvidence",
    "VectorChunk",
    "Vote",
    "Work",
]


class DemandKind(IntEnum):
    """What a demand asks for."""

    NONE = 0
    OPENING = 1
    SCORE = 2
    LEAF = 3


class CasePhase(IntEnum):
    """Where a vote about a settlement stands; `MOOT`: over, because the settlement fell otherwise."""

    NONE = 0
    DRAW = 1
    SEAL = 2
    SHOW = 3
    APPEAL = 4
    CLOSED = 5
    MOOT = 6

    @property
    def over(self) -> bool:
        """Whether nothing is voted on any more."""
        return self in (CasePhase.CLOSED, CasePhase.MOOT)


class Ballot(IntEnum):
    """How far a juror's vote came."""

    NONE = 0
    SEALED = 1
    UPHOLD = 2
    OVERTURN = 3
    SETTLED = 4


@dataclass(frozen=True)
class CourtParams:
    """Bond, share and time of all demands."""

    demand_bond: TokenAmount
    winner_bps: int
    answer_seconds: int


@dataclass(frozen=True)
class JuryParams:
    """Bonds, seats, prices and times of all votes."""

    bond: TokenAmount
    seats: int
    juror_bps: int
    absence_bps: int
    wrong_vote_bps: int
    vote_seconds: int
    appeal_seconds: int
    activation_seconds: int


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
    held: bool
    closed: bool
    root: Digest32


@dataclass(frozen=True)
class Case:
    """A vote about whether a settlement is right."""

    phase: CasePhase
    level: int
    overturned: bool
    task_id: TaskId
    round: RoundIndex
    deadline: int
    opened_at: int
    electorate: TokenAmount
    quorum_weight: TokenAmount
    settlement: Digest32


@dataclass(frozen=True)
class Level:
    """One of a case's votes; each asks twice the stake of the one before."""

    appellant: Address
    overturns: bool
    unit: TokenAmount
    sealed_: int
    upholding: int
    overturning: int
    seed_request: int
    seed: Digest32


@dataclass(frozen=True)
class Vote:
    """A juror's vote at one level."""

    ballot: Ballot
    votes: int
    commitment: Digest32


@dataclass(frozen=True)
class SettlementCheck:
    """Where a check of all leaves of a settlement stands."""

    owner: Address
    reviewing: bool
    differs: bool
    count: int
    earning: int
    task_id: TaskId
    round: RoundIndex
    settlement: Digest32
    total: int
    weight: int
    verdicts: Digest32
    chain: Digest32


@dataclass(frozen=True)
class ChunkOpening:
    """A record with its place in the transcript tree, and one chunk of one of its vectors."""

    record: bytes = field(repr=False)
    record_proof: tuple[Digest32, ...] = field(repr=False)
    chunk_data: bytes = field(repr=False)
    chunk_proof: tuple[Digest32, ...] = field(repr=False)


@dataclass(frozen=True)
class Work:
    """The work that a trainer committed in a round."""

    task_id: TaskId
    round: RoundIndex
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
