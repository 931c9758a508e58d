"""Events of tasks, rounds, their money and their seeds (`ITaskTerms`, `ITaskManager`, `IRewardVault`,
`IDrandBeacon`)."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.abi.structs import G1Point, TaskParams
from deltaproof.chain.events.base import ContractEvent, RoundEvent, TaskEvent
from deltaproof.protocol.outcome.settlement import Settlement
from deltaproof.protocol.types import Address, Digest32, TokenAmount

__all__ = [
    "BaseAllocated",
    "BlockedPayReturned",
    "ChallengeSeedDrawn",
    "ClaimBlocked",
    "ClaimHeld",
    "ClaimResumed",
    "Claimed",
    "FeePaid",
    "GuardianChanged",
    "GuardianProposed",
    "HeldOutRevealed",
    "NewRoundsPaused",
    "NewTasksPaused",
    "OrderSeedDrawn",
    "PhaseStarted",
    "QuorumLowered",
    "RoundAllocated",
    "RoundEnded",
    "RoundExpired",
    "RoundOpened",
    "RoundReserved",
    "SeedFixed",
    "SeedRearmed",
    "SeedRequested",
    "SettlementPosted",
    "SettlementVoided",
    "SignaturePublished",
    "SponsorWithdrew",
    "TaskCancelled",
    "TaskCreated",
    "TaskFunded",
    "ValidationRevealed",
]


@dataclass(frozen=True)
class TaskCreated(TaskEvent):
    sponsor: Address
    params: TaskParams
    validation_commitments: tuple[Digest32, ...]


@dataclass(frozen=True)
class TaskCancelled(RoundEvent):
    pass


@dataclass(frozen=True)
class NewTasksPaused(ContractEvent):
    paused: bool


@dataclass(frozen=True)
class NewRoundsPaused(ContractEvent):
    until: int


@dataclass(frozen=True)
class GuardianProposed(ContractEvent):
    guardian: Address
    from_: int


@dataclass(frozen=True)
class GuardianChanged(ContractEvent):
    guardian: Address


@dataclass(frozen=True)
class RoundOpened(RoundEvent):
    start_digest: Digest32
    trainers: int
    verifiers: int
    verifier_set_version: int
    order_request: int


@dataclass(frozen=True)
class OrderSeedDrawn(RoundEvent):
    order_seed: Digest32


@dataclass(frozen=True)
class ChallengeSeedDrawn(RoundEvent):
    challenge_seed: Digest32


@dataclass(frozen=True)
class PhaseStarted(RoundEvent):
    phase: Phase
    deadline: int


@dataclass(frozen=True)
class ValidationRevealed(RoundEvent):
    digest: Digest32
    salt: Digest32


@dataclass(frozen=True)
class HeldOutRevealed(TaskEvent):
    digest: Digest32
    salt: Digest32


@dataclass(frozen=True)
class QuorumLowered(RoundEvent):
    attempt: int


@dataclass(frozen=True)
class SettlementPosted(RoundEvent):
    digest: Digest32
    settlement: Settlement
    non_signers: tuple[Address, ...]


@dataclass(frozen=True)
class SettlementVoided(RoundEvent):
    digest: Digest32
    culpable: bool


@dataclass(frozen=True)
class RoundEnded(RoundEvent):
    outcome: Outcome
    next_start_digest: Digest32
    paid: TokenAmount
    unearned: TokenAmount


@dataclass(frozen=True)
class TaskFunded(TaskEvent):
    payer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class RoundReserved(RoundEvent):
    amount: TokenAmount


@dataclass(frozen=True)
class RoundAllocated(RoundEvent):
    root: Digest32
    payouts: TokenAmount
    fees: TokenAmount
    expires_at: int


@dataclass(frozen=True)
class BaseAllocated(RoundEvent):
    each: TokenAmount
    amount: TokenAmount
    returned: TokenAmount


@dataclass(frozen=True)
class ClaimHeld(RoundEvent):
    trainer: Address
    holds: int


@dataclass(frozen=True)
class ClaimResumed(RoundEvent):
    trainer: Address
    holds: int


@dataclass(frozen=True)
class ClaimBlocked(RoundEvent):
    trainer: Address


@dataclass(frozen=True)
class BlockedPayReturned(RoundEvent):
    trainer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class Claimed(RoundEvent):
    trainer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class FeePaid(RoundEvent):
    verifier: Address
    amount: TokenAmount


@dataclass(frozen=True)
class RoundExpired(RoundEvent):
    amount: TokenAmount


@dataclass(frozen=True)
class SponsorWithdrew(TaskEvent):
    sponsor: Address
    amount: TokenAmount


@dataclass(frozen=True)
class SeedRequested(ContractEvent):
    id: int
    target: int


@dataclass(frozen=True)
class SeedRearmed(ContractEvent):
    id: int
    target_block: int


@dataclass(frozen=True)
class SeedFixed(ContractEvent):
    id: int
    seed: Digest32


@dataclass(frozen=True)
class SignaturePublished(ContractEvent):
    drand_round: int
    signature: G1Point
