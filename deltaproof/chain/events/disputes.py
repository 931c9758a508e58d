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
    "CaseDropped",
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
    """Somebody asked for an answer on chain and paid a bond for it."""

    demand_id: int
    task_id: TaskId
    round: RoundIndex
    demand: Demand


@dataclass(frozen=True)
class OpeningAnswered(ContractEvent):
    """A trainer answered a demand with a chunk of an opening."""

    demand_id: int
    opening: ChunkOpening


@dataclass(frozen=True)
class ScoreAnswered(ContractEvent):
    """A verifier answered a demand with a leaf of its scores; `struck`: it contradicts the settlement, so no fee."""

    demand_id: int
    leaf: ScoreLeaf
    struck: bool


@dataclass(frozen=True)
class DemandUnanswered(ContractEvent):
    """A demand ran out; `respondent` had to answer, the zero address: nobody in particular."""

    demand_id: int
    respondent: Address


@dataclass(frozen=True)
class LeafAnswered(ContractEvent):
    """Somebody answered a demand with a leaf of the settlement."""

    demand_id: int
    leaf: SettlementLeaf


@dataclass(frozen=True)
class CaseOpened(ContractEvent):
    """A settlement was challenged; `evidence` is the SHA-256 of what the artifact store holds about it."""

    case_id: int
    task_id: TaskId
    round: RoundIndex
    challenger: Address
    settlement: Digest32
    evidence: Digest32


@dataclass(frozen=True)
class SeatsDrawn(ContractEvent):
    """The jury of a level is drawn by `seed`; one vote stands for `unit` of stake, stake token."""

    case_id: int
    level: int
    seed: Digest32
    unit: TokenAmount


@dataclass(frozen=True)
class CasePhaseStarted(ContractEvent):
    """A case is in another phase, until `deadline`, seconds since the epoch."""

    case_id: int
    level: int
    phase: CasePhase
    deadline: int


@dataclass(frozen=True)
class VoteSealed(ContractEvent):
    """A juror sealed its votes."""

    case_id: int
    level: int
    juror: Address
    votes: int


@dataclass(frozen=True)
class VoteShown(ContractEvent):
    """A juror opened its votes."""

    case_id: int
    level: int
    juror: Address
    overturn: bool
    votes: int


@dataclass(frozen=True)
class LevelDecided(ContractEvent):
    """A level's votes are counted; whether they overturn the settlement."""

    case_id: int
    level: int
    overturned: bool
    upholding: int
    overturning: int


@dataclass(frozen=True)
class Appealed(ContractEvent):
    """Somebody paid for the next level of a case, with new evidence (SHA-256)."""

    case_id: int
    level: int
    appellant: Address
    evidence: Digest32


@dataclass(frozen=True)
class CaseClosed(ContractEvent):
    """The verdict of `level` is final."""

    case_id: int
    overturned: bool
    level: int


@dataclass(frozen=True)
class CaseDropped(ContractEvent):
    """The settlement in dispute fell otherwise; `level` decides nothing."""

    case_id: int
    level: int


@dataclass(frozen=True)
class VoteSettled(ContractEvent):
    """A juror's votes of a closed case are settled: what it lost and what it got, stake token."""

    case_id: int
    level: int
    juror: Address
    fine: TokenAmount
    pay: TokenAmount


@dataclass(frozen=True)
class JurorPayBurned(ContractEvent):
    """What jurors did not collect of a case's lost bonds in time was burned, stake token."""

    case_id: int
    amount: TokenAmount


@dataclass(frozen=True)
class CheckOpened(ContractEvent):
    """Somebody began to prove in parts that a settlement is wrong."""

    check_id: int
    task_id: TaskId
    round: RoundIndex
    owner: Address


@dataclass(frozen=True)
class CheckContinued(ContractEvent):
    """Another part was read: `count` leaves so far, in the first pass (weights) or the second (`reviewing`: pay)."""

    check_id: int
    reviewing: bool
    count: int


@dataclass(frozen=True)
class EquivocationProven(RoundEvent):
    """A verifier signed two digests with different verdicts for the same attempt, and loses stake for it."""

    verifier: Address
    attempt: int
    first: Digest32
    second: Digest32


@dataclass(frozen=True)
class SignerSlashed(RoundEvent):
    """A verifier lost stake for its signature under a voided settlement, whose digest this is."""

    verifier: Address
    settlement: Digest32


@dataclass(frozen=True)
class FaultProven(RoundEvent):
    """A contract established a trainer's fault, shown by record `step`; `prover` gets its part of the slash."""

    trainer: Address
    fault: Fault
    step: int
    prover: Address


@dataclass(frozen=True)
class SettlementFaultProven(RoundEvent):
    """A settlement breaks a rule of the protocol; `reason` is the rule's short name, padded to 32 bytes."""

    reason: Digest32
    prover: Address
