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
    """A sponsor fixed a task for ever; commitments of each round's validation set, then of the final held-out set."""

    sponsor: Address
    params: TaskParams
    validation_commitments: tuple[Digest32, ...]


@dataclass(frozen=True)
class TaskCancelled(RoundEvent):
    """The sponsor ended a task; `round` is the last that was opened, and if it runs it still ends by the rules."""


@dataclass(frozen=True)
class NewTasksPaused(ContractEvent):
    """The guardian refuses new tasks from here on, or allows them again."""

    paused: bool


@dataclass(frozen=True)
class NewRoundsPaused(ContractEvent):
    """The guardian stopped new rounds; `until` is when they can be opened again, seconds since the epoch."""

    until: int


@dataclass(frozen=True)
class GuardianProposed(ContractEvent):
    """The guardian named a successor, who may take the office at `from_`, seconds since the epoch."""

    guardian: Address
    from_: int


@dataclass(frozen=True)
class GuardianChanged(ContractEvent):
    """The office of the guardian changed hands; the zero address: nobody holds it, for ever."""

    guardian: Address


@dataclass(frozen=True)
class RoundOpened(RoundEvent):
    """A round began: its start (component root), its trainers and its verifiers are fixed from here on."""

    start_digest: Digest32
    trainers: int
    verifiers: int
    verifier_set_version: int
    order_request: int


@dataclass(frozen=True)
class OrderSeedDrawn(RoundEvent):
    """The seed that all batch orders of the round derive from is fixed."""

    order_seed: Digest32


@dataclass(frozen=True)
class ChallengeSeedDrawn(RoundEvent):
    """The seed that all samples of the round derive from is fixed."""

    challenge_seed: Digest32


@dataclass(frozen=True)
class PhaseStarted(RoundEvent):
    """A phase began; `deadline` is its end, seconds since the epoch, and 0 if a beacon's seed ends it."""

    phase: Phase
    deadline: int


@dataclass(frozen=True)
class ValidationRevealed(RoundEvent):
    """The sponsor showed the round's validation set: its digest, and the salt that opens the commitment."""

    digest: Digest32
    salt: Digest32


@dataclass(frozen=True)
class HeldOutRevealed(TaskEvent):
    """The sponsor showed the final held-out test set, after the last round."""

    digest: Digest32
    salt: Digest32


@dataclass(frozen=True)
class QuorumLowered(RoundEvent):
    """From here on more than half of the verifiers' stake settles; `attempt` settlements were voided before."""

    attempt: int


@dataclass(frozen=True)
class SettlementPosted(RoundEvent):
    """A quorum signed a settlement; `non_signers` are the verifiers of the snapshot who did not, by address."""

    digest: Digest32
    settlement: Settlement
    non_signers: tuple[Address, ...]


@dataclass(frozen=True)
class SettlementVoided(RoundEvent):
    """A posted settlement no longer counts; `culpable`: its signers may be slashed for it."""

    digest: Digest32
    culpable: bool


@dataclass(frozen=True)
class RoundEnded(RoundEvent):
    """Pay (reward token) and next start (component root) of a round are final; `unearned` went back to the task."""

    outcome: Outcome
    next_start_digest: Digest32
    paid: TokenAmount
    unearned: TokenAmount


@dataclass(frozen=True)
class TaskFunded(TaskEvent):
    """Somebody added to a task's balance, reward token."""

    payer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class RoundReserved(RoundEvent):
    """The most that a round can pay was set aside from the task's balance as it opened, reward token."""

    amount: TokenAmount


@dataclass(frozen=True)
class RoundAllocated(RoundEvent):
    """A settled round can be claimed until `expires_at`, seconds since the epoch; amounts in the reward token."""

    root: Digest32
    payouts: TokenAmount
    fees: TokenAmount
    expires_at: int


@dataclass(frozen=True)
class BaseAllocated(RoundEvent):
    """A round ended without a settlement: every trainer who opened gets `each`, reward token; the rest went back."""

    each: TokenAmount
    amount: TokenAmount
    returned: TokenAmount


@dataclass(frozen=True)
class ClaimHeld(RoundEvent):
    """A trainer cannot claim while somebody waits for its answer; `holds` demands wait now."""

    trainer: Address
    holds: int


@dataclass(frozen=True)
class ClaimResumed(RoundEvent):
    """One demand less holds a trainer's claim; `holds` still do."""

    trainer: Address
    holds: int


@dataclass(frozen=True)
class ClaimBlocked(RoundEvent):
    """A fault was established: the trainer is not paid for this round."""

    trainer: Address


@dataclass(frozen=True)
class BlockedPayReturned(RoundEvent):
    """What a settlement had for a blocked trainer went back to the task's balance, reward token."""

    trainer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class Claimed(RoundEvent):
    """A trainer's pay for a round was paid out, reward token."""

    trainer: Address
    amount: TokenAmount


@dataclass(frozen=True)
class FeePaid(RoundEvent):
    """A verifier's fee for a round was paid out, reward token."""

    verifier: Address
    amount: TokenAmount


@dataclass(frozen=True)
class RoundExpired(RoundEvent):
    """What nobody claimed in time, pay and fees, went back to the task's balance, reward token."""

    amount: TokenAmount


@dataclass(frozen=True)
class SponsorWithdrew(TaskEvent):
    """The sponsor took back what a task did not need, reward token."""

    sponsor: Address
    amount: TokenAmount


@dataclass(frozen=True)
class SeedRequested(ContractEvent):
    """Somebody needs a seed; `target` decides it: the number of a block, or of a round of drand."""

    id: int
    target: int


@dataclass(frozen=True)
class SeedRearmed(ContractEvent):
    """Nobody fixed the seed in time, and the hash of another block decides it."""

    id: int
    target_block: int


@dataclass(frozen=True)
class SeedFixed(ContractEvent):
    """A request has its seed, which never changes again."""

    id: int
    seed: Digest32


@dataclass(frozen=True)
class SignaturePublished(ContractEvent):
    """A round of drand was brought to the chain: its signature, a point of G1, was checked and kept."""

    drand_round: int
    signature: G1Point
