"""Events of demands, votes and proven faults (`IDisputeCourt`, `IJury`, `IFaultProver`, `ISettlementProver`)."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.dispute_structs import CasePhase, ChunkOpening, Demand
from deltaproof.chain.abi.enums import Fault
from deltaproof.chain.abi.structs import ScoreLeaf
from deltaproof.chain.events.base import ContractEvent, RoundEvent
from deltaproof.protocol.outcome.settlement import SettlementLeaf
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, TokenAmount

__all__ = [
    "Appealed",
    "CaseClosed",
    "CaseOpened",
    "CasePhaseStarted",
    "CheckContinued",
    "CheckOpened",
    "DemandOpened",
    "DemandUnanswered",
    "EquivocationProven",
    "FaultProven",
    "JurorPayBurned",
    "LeafAnswered",
    "LevelDecided",
    "OpeningAnswered",
    "ScoreAnswered",
    "SeatsDrawn",
    "SettlementFaultProven",
    "SignerSlashed",
    "VoteSealed",
    "VoteSettled",
    "VoteShown",
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
    struck: bool


@dataclass(frozen=True)
class DemandUnanswered(ContractEvent):
    demand_id: int
    respondent: Address


@dataclass(frozen=True)
class LeafAnswered(ContractEvent):
    demand_id: int
    leaf: SettlementLeaf


@dataclass(frozen=True)
class CaseOpened(ContractEvent):
    case_id: int
    task_id: TaskId
    round: RoundIndex
    challenger: Address
    settlement: Digest32
    evidence: Digest32


@dataclass(frozen=True)
class SeatsDrawn(ContractEvent):
    case_id: int
    level: int
    seed: Digest32
    unit: TokenAmount


@dataclass(frozen=True)
class CasePhaseStarted(ContractEvent):
    case_id: int
    level: int
    phase: CasePhase
    deadline: int


@dataclass(frozen=True)
class VoteSealed(ContractEvent):
    case_id: int
    level: int
    juror: Address
    votes: int
    locked: TokenAmount


@dataclass(frozen=True)
class VoteShown(ContractEvent):
    case_id: int
    level: int
    juror: Address
    overturn: bool
    votes: int


@dataclass(frozen=True)
class LevelDecided(ContractEvent):
    case_id: int
    level: int
    overturned: bool
    upholding: int
    overturning: int


@dataclass(frozen=True)
class Appealed(ContractEvent):
    case_id: int
    level: int
    appellant: Address
    evidence: Digest32


@dataclass(frozen=True)
class CaseClosed(ContractEvent):
    case_id: int
    overturned: bool
    level: int


@dataclass(frozen=True)
class VoteSettled(ContractEvent):
    case_id: int
    level: int
    juror: Address
    fine: TokenAmount
    pay: TokenAmount


@dataclass(frozen=True)
class JurorPayBurned(ContractEvent):
    case_id: int
    amount: TokenAmount


@dataclass(frozen=True)
class CheckOpened(ContractEvent):
    check_id: int
    task_id: TaskId
    round: RoundIndex
    owner: Address


@dataclass(frozen=True)
class CheckContinued(ContractEvent):
    check_id: int
    reviewing: bool
    count: int


@dataclass(frozen=True)
class EquivocationProven(RoundEvent):
    verifier: Address
    attempt: int
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
