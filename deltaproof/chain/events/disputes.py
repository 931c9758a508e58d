"""Events of disputes and proven faults (`IDisputeCourt`, `IFaultProver`)."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.dispute_structs import ChunkOpening, Demand, RevotePhase
from deltaproof.chain.abi.enums import Fault
from deltaproof.chain.abi.structs import ScoreLeaf
from deltaproof.chain.events.base import ContractEvent, RoundEvent
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = [
    "CommitteeDrawn",
    "CommitteePaid",
    "DemandOpened",
    "DemandUnanswered",
    "EquivocationProven",
    "FaultProven",
    "OpeningAnswered",
    "RevoteClosed",
    "RevoteOpened",
    "RevotePhaseStarted",
    "ScoreAnswered",
    "SettlementFaultProven",
    "SignerSlashed",
    "VoteCommitted",
    "VoteRevealed",
]


@dataclass(frozen=True)
class DemandOpened(ContractEvent):
    demand_id: int
    task_id: TaskId
    round: RoundIndex
    demand: Demand


@dataclass(frozen=True)
class OpeningAnswered(ContractEvent):
    demand_id: int
    opening: ChunkOpening


@dataclass(frozen=True)
class ScoreAnswered(ContractEvent):
    demand_id: int
    leaf: ScoreLeaf


@dataclass(frozen=True)
class DemandUnanswered(ContractEvent):
    demand_id: int
    respondent: Address


@dataclass(frozen=True)
class RevoteOpened(ContractEvent):
    revote_id: int
    task_id: TaskId
    round: RoundIndex
    challenger: Address
    settlement: Digest32
    evidence_digest: Digest32


@dataclass(frozen=True)
class CommitteeDrawn(ContractEvent):
    revote_id: int
    members: tuple[Address, ...]
    commit_deadline: int


@dataclass(frozen=True)
class VoteCommitted(ContractEvent):
    revote_id: int
    member: Address
    commitment: Digest32


@dataclass(frozen=True)
class RevotePhaseStarted(ContractEvent):
    revote_id: int
    phase: RevotePhase
    deadline: int


@dataclass(frozen=True)
class VoteRevealed(ContractEvent):
    revote_id: int
    member: Address
    overturn: bool


@dataclass(frozen=True)
class RevoteClosed(ContractEvent):
    revote_id: int
    result: RevotePhase
    upholding: int
    overturning: int


@dataclass(frozen=True)
class CommitteePaid(ContractEvent):
    revote_id: int
    member: Address
    amount: TokenAmount


@dataclass(frozen=True)
class EquivocationProven(RoundEvent):
    verifier: Address
    first: Digest32
    second: Digest32


@dataclass(frozen=True)
class SignerSlashed(RoundEvent):
    verifier: Address
    settlement: Digest32


@dataclass(frozen=True)
class FaultProven(RoundEvent):
    trainer: Address
    fault: Fault
    step: int
    prover: Address


@dataclass(frozen=True)
class SettlementFaultProven(RoundEvent):
    reason: Digest32
    prover: Address
