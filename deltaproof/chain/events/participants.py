"""Events of trainers, verifiers, their fees and stakes (`ITrainerPool`, `IVerifierPool` and others)."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.enums import Fault, Role
from deltaproof.chain.abi.structs import BatchReveal, G1Point, G2Point
from deltaproof.chain.events.base import ContractEvent, RoundEvent, TaskEvent
from deltaproof.protocol.types import Address, Digest32, TokenAmount

__all__ = [
    "AbsenceCharged",
    "AttestationCommitted",
    "AttestationDisqualified",
    "AttestationRevealed",
    "BatchCommitted",
    "BatchRevealed",
    "BondForfeited",
    "Committed",
    "CreditMoved",
    "CreditWithdrawn",
    "FeesClaimed",
    "FeesFixed",
    "KeyRegistered",
    "OpeningsPublished",
    "Revealed",
    "SlashRewardsAdded",
    "SlashRewardsBurned",
    "StakeDeposited",
    "StakeFined",
    "StakeLocked",
    "StakeSlashed",
    "StakeToppedUp",
    "StakeUnlocked",
    "StakeWithdrawn",
    "TrainerEnrolled",
    "TrainerReleased",
    "TrainerSlashed",
    "TrainerStopped",
    "UnbondingStarted",
    "VerifierActivated",
    "VerifierEnrolled",
    "VerifierReleased",
    "VerifierSetChanged",
    "VerifierSlashed",
    "VerifierStakeChanged",
    "VerifierStopped",
]


@dataclass(frozen=True)
class TrainerEnrolled(TaskEvent):
    trainer: Address
    index: int
    active_from: int
    data_root: Digest32
    data_rows: int
    stake: TokenAmount


@dataclass(frozen=True)
class StakeToppedUp(TaskEvent):
    trainer: Address
    stake: TokenAmount
    active_from: int


@dataclass(frozen=True)
class TrainerStopped(TaskEvent):
    trainer: Address
    active_until: int


@dataclass(frozen=True)
class TrainerReleased(TaskEvent):
    trainer: Address
    stake: TokenAmount


@dataclass(frozen=True)
class Committed(RoundEvent):
    trainer: Address
    commitment: Digest32


@dataclass(frozen=True)
class BatchCommitted(RoundEvent):
    batch_id: int
    root: Digest32
    trainers: tuple[Address, ...]
    commitments: tuple[Digest32, ...]


@dataclass(frozen=True)
class Revealed(RoundEvent):
    trainer: Address
    delta_digest: Digest32
    transcript_root: Digest32


@dataclass(frozen=True)
class BatchRevealed(RoundEvent):
    batch_id: int
    entries: tuple[BatchReveal, ...]


@dataclass(frozen=True)
class OpeningsPublished(RoundEvent):
    trainer: Address


@dataclass(frozen=True)
class BondForfeited(RoundEvent):
    trainer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class TrainerSlashed(RoundEvent):
    trainer: Address
    fault: Fault
    amount: TokenAmount
    prover: Address


@dataclass(frozen=True)
class VerifierEnrolled(TaskEvent):
    verifier: Address
    index: int
    stake: TokenAmount
    active_at: int


@dataclass(frozen=True)
class VerifierActivated(TaskEvent):
    verifier: Address
    active_from: int
    weight: TokenAmount


@dataclass(frozen=True)
class VerifierStopped(TaskEvent):
    verifier: Address
    active_until: int


@dataclass(frozen=True)
class VerifierReleased(TaskEvent):
    verifier: Address
    stake: TokenAmount


@dataclass(frozen=True)
class VerifierSetChanged(TaskEvent):
    version: int
    key: G1Point
    weight: TokenAmount
    members: int


@dataclass(frozen=True)
class AbsenceCharged(RoundEvent):
    verifier: Address
    misses: int
    amount: TokenAmount


@dataclass(frozen=True)
class AttestationCommitted(RoundEvent):
    verifier: Address
    commitment: Digest32


@dataclass(frozen=True)
class AttestationRevealed(RoundEvent):
    verifier: Address
    verdicts_digest: Digest32
    scores_root: Digest32
    artifact_digest: Digest32


@dataclass(frozen=True)
class AttestationDisqualified(RoundEvent):
    verifier: Address


@dataclass(frozen=True)
class SlashRewardsBurned(RoundEvent):
    amount: TokenAmount


@dataclass(frozen=True)
class FeesFixed(RoundEvent):
    fee: TokenAmount
    agreeing_weight: TokenAmount


@dataclass(frozen=True)
class SlashRewardsAdded(RoundEvent):
    amount: TokenAmount


@dataclass(frozen=True)
class FeesClaimed(RoundEvent):
    verifier: Address
    fee: TokenAmount
    slash_reward: TokenAmount


@dataclass(frozen=True)
class VerifierSlashed(RoundEvent):
    verifier: Address
    amount: TokenAmount
    prover: Address


@dataclass(frozen=True)
class StakeDeposited(ContractEvent):
    account: Address
    role: Role
    payer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class UnbondingStarted(ContractEvent):
    account: Address
    role: Role
    amount: TokenAmount
    withdrawable_at: int


@dataclass(frozen=True)
class StakeWithdrawn(ContractEvent):
    account: Address
    role: Role
    amount: TokenAmount


@dataclass(frozen=True)
class StakeLocked(ContractEvent):
    account: Address
    role: Role
    amount: TokenAmount


@dataclass(frozen=True)
class StakeUnlocked(ContractEvent):
    account: Address
    role: Role
    amount: TokenAmount


@dataclass(frozen=True)
class StakeSlashed(ContractEvent):
    account: Address
    role: Role
    beneficiary: Address
    amount: TokenAmount
    reward: TokenAmount
    burned: TokenAmount


@dataclass(frozen=True)
class CreditMoved(ContractEvent):
    from_: Address
    to: Address
    amount: TokenAmount


@dataclass(frozen=True)
class CreditWithdrawn(ContractEvent):
    account: Address
    amount: TokenAmount


@dataclass(frozen=True)
class KeyRegistered(ContractEvent):
    account: Address
    key_g1: G1Point
    key_g2: G2Point


@dataclass(frozen=True)
class VerifierStakeChanged(ContractEvent):
    account: Address
    stake: TokenAmount
    total: TokenAmount


@dataclass(frozen=True)
class StakeFined(ContractEvent):
    account: Address
    role: Role
    amount: TokenAmount
