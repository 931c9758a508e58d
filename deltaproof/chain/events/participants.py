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
    """A trainer joined with a shard (ordered tree over its salted rows); it may commit from round `active_from` on."""

    trainer: Address
    index: int
    active_from: int
    data_root: Digest32
    data_rows: int
    stake: TokenAmount


@dataclass(frozen=True)
class StakeToppedUp(TaskEvent):
    """A trainer filled its locked stake up to `stake`, stake token, and may commit from round `active_from` on."""

    trainer: Address
    stake: TokenAmount
    active_from: int


@dataclass(frozen=True)
class TrainerStopped(TaskEvent):
    """A trainer left, or its stake fell below the minimum; `active_until` is the last round it may commit in."""

    trainer: Address
    active_until: int


@dataclass(frozen=True)
class TrainerReleased(TaskEvent):
    """A trainer who had stopped got its locked stake back, stake token."""

    trainer: Address
    stake: TokenAmount


@dataclass(frozen=True)
class Committed(RoundEvent):
    """A trainer sealed its delta and transcript of a round."""

    trainer: Address
    commitment: Digest32


@dataclass(frozen=True)
class BatchCommitted(RoundEvent):
    """A relayer committed for trainers who signed; `root` is the tree over their commitments."""

    batch_id: int
    root: Digest32
    trainers: tuple[Address, ...]
    commitments: tuple[Digest32, ...]


@dataclass(frozen=True)
class Revealed(RoundEvent):
    """A trainer opened its commitment: digest of the delta, and root of the transcript."""

    trainer: Address
    delta_digest: Digest32
    transcript_root: Digest32


@dataclass(frozen=True)
class BatchRevealed(RoundEvent):
    """The commitments of a batch were opened together."""

    batch_id: int
    entries: tuple[BatchReveal, ...]


@dataclass(frozen=True)
class OpeningsPublished(RoundEvent):
    """A trainer announced that the drawn steps are in the artifact store."""

    trainer: Address


@dataclass(frozen=True)
class BondForfeited(RoundEvent):
    """A commitment was never revealed; its bond was burned, stake token."""

    trainer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class TrainerSlashed(RoundEvent):
    """A trainer lost stake for a round, stake token; `fault` is none if the settlement's verdict was the reason."""

    trainer: Address
    fault: Fault
    amount: TokenAmount
    prover: Address


@dataclass(frozen=True)
class VerifierEnrolled(TaskEvent):
    """A verifier locked stake; it may join the quorum at `active_at`, seconds since the epoch."""

    verifier: Address
    index: int
    stake: TokenAmount
    active_at: int


@dataclass(frozen=True)
class VerifierActivated(TaskEvent):
    """A verifier's stake weighs in the quorum from round `active_from` on; the weight is in the stake token."""

    verifier: Address
    active_from: int
    weight: TokenAmount


@dataclass(frozen=True)
class VerifierStopped(TaskEvent):
    """A verifier left or lost too much stake; `active_until` is the last round that its stake weighs in."""

    verifier: Address
    active_until: int


@dataclass(frozen=True)
class VerifierReleased(TaskEvent):
    """A verifier who had stopped got its locked stake back, stake token."""

    verifier: Address
    stake: TokenAmount


@dataclass(frozen=True)
class VerifierSetChanged(TaskEvent):
    """Another checkpoint of the quorum: sum of the members' keys, and of their stakes in the stake token."""

    version: int
    key: G1Point
    weight: TokenAmount
    members: int


@dataclass(frozen=True)
class AbsenceCharged(RoundEvent):
    """A verifier did not attest and lost stake, stake token; `misses` counts such rounds in a row, with this one."""

    verifier: Address
    misses: int
    amount: TokenAmount


@dataclass(frozen=True)
class AttestationCommitted(RoundEvent):
    """A verifier sealed its attestation of a round."""

    verifier: Address
    commitment: Digest32


@dataclass(frozen=True)
class AttestationRevealed(RoundEvent):
    """A verifier opened its attestation: digests of verdicts and artifact, and the root of its scores."""

    verifier: Address
    verdicts_digest: Digest32
    scores_root: Digest32
    artifact_digest: Digest32


@dataclass(frozen=True)
class AttestationDisqualified(RoundEvent):
    """A verifier has no part in the fees of the settlement that stands."""

    verifier: Address


@dataclass(frozen=True)
class SlashRewardsBurned(RoundEvent):
    """What nobody claimed of a round's slash rewards in time was burned, stake token."""

    amount: TokenAmount


@dataclass(frozen=True)
class FeesFixed(RoundEvent):
    """The verifiers' fee of a round, reward token, and the stake of those who agreed and share it, stake token."""

    fee: TokenAmount
    agreeing_weight: TokenAmount


@dataclass(frozen=True)
class SlashRewardsAdded(RoundEvent):
    """A trainer's slash added to what the agreeing verifiers of a round share, stake token."""

    amount: TokenAmount


@dataclass(frozen=True)
class FeesClaimed(RoundEvent):
    """A verifier collected its part of a round: fee in the reward token, slash reward in the stake token."""

    verifier: Address
    fee: TokenAmount
    slash_reward: TokenAmount


@dataclass(frozen=True)
class VerifierSlashed(RoundEvent):
    """A verifier lost stake for a round, stake token; `prover` showed the fault."""

    verifier: Address
    amount: TokenAmount
    prover: Address


@dataclass(frozen=True)
class StakeDeposited(ContractEvent):
    """An account's stake grew, paid by `payer`, stake token."""

    account: Address
    role: Role
    payer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class UnbondingStarted(ContractEvent):
    """Stake is on its way out; it can be taken at `withdrawable_at`, seconds since the epoch."""

    account: Address
    role: Role
    amount: TokenAmount
    withdrawable_at: int


@dataclass(frozen=True)
class StakeWithdrawn(ContractEvent):
    """Stake was paid out to its account, stake token."""

    account: Address
    role: Role
    amount: TokenAmount


@dataclass(frozen=True)
class StakeLocked(ContractEvent):
    """A module locked an account's stake, stake token."""

    account: Address
    role: Role
    amount: TokenAmount


@dataclass(frozen=True)
class StakeUnlocked(ContractEvent):
    """A module set locked stake free again, stake token."""

    account: Address
    role: Role
    amount: TokenAmount


@dataclass(frozen=True)
class StakeSlashed(ContractEvent):
    """An account lost `amount` of locked stake: `reward` went to the beneficiary, the rest burned; stake token."""

    account: Address
    role: Role
    beneficiary: Address
    amount: TokenAmount
    reward: TokenAmount
    burned: TokenAmount


@dataclass(frozen=True)
class CreditMoved(ContractEvent):
    """Credit of the stake token passed from one account to another, or was burned."""

    from_: Address
    to: Address
    amount: TokenAmount


@dataclass(frozen=True)
class CreditWithdrawn(ContractEvent):
    """An account took its credit out, stake token."""

    account: Address
    amount: TokenAmount


@dataclass(frozen=True)
class KeyRegistered(ContractEvent):
    """An account showed that it holds a BLS key, whose points of G1 and G2 were stored."""

    account: Address
    key_g1: G1Point
    key_g2: G2Point


@dataclass(frozen=True)
class VerifierStakeChanged(ContractEvent):
    """The verifier stake of an account that is not on its way out, and of all; it weighs in the jury's votes."""

    account: Address
    stake: TokenAmount
    total: TokenAmount


@dataclass(frozen=True)
class StakeFined(ContractEvent):
    """An account lost stake that no module holds, burned, stake token."""

    account: Address
    role: Role
    amount: TokenAmount
