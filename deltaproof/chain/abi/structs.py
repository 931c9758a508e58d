"""The contracts' vocabulary (`contracts/interfaces/Types.sol` and the structs of each interface) in Python.

Fields keep the contracts' order and, in snake case, their names; a test compares both with the compiled interfaces.
Rounds count from 1. Times are seconds since the epoch, durations seconds. Amounts are smallest units: of the reward
token where rewards, budgets and fees are meant, of the stake token where stakes and bonds are meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.chain.abi.enums import AttestationState, Fault, Optimizer, Outcome, Phase
from deltaproof.protocol.commit.bls import G1Wire, G2Wire
from deltaproof.protocol.commit.drand import DrandNetwork
from deltaproof.protocol.outcome.settlement import Settlement, SettlementLeaf, Verdict
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TokenAmount

__all__ = [
    "FOREVER",
    "Account",
    "AttestationStatus",
    "BatchReveal",
    "BeaconNetwork",
    "Checkpoint",
    "Closure",
    "CommitmentRef",
    "FeePot",
    "FixedSeed",
    "G1Point",
    "G2Point",
    "Modules",
    "PhaseSeconds",
    "PhaseView",
    "QuorumProof",
    "QuorumTerms",
    "RevealData",
    "RewardTerms",
    "RoundPot",
    "RoundView",
    "ScoreLeaf",
    "ScorePair",
    "SignedCommit",
    "StakeAccount",
    "StakeTerms",
    "TaskParams",
    "TaskState",
    "TaskView",
    "TrainerEnrolment",
    "TrainerProgress",
    "TrainerWork",
    "TrainingTerms",
    "VerifierEnrolment",
    "VerifierProgress",
]


@dataclass(frozen=True)
class G1Point:
    """Affine point of G1."""

    x: int
    y: int

    @classmethod
    def of(cls, wire: G1Wire) -> G1Point:
        """From the wire form of `deltaproof.protocol.commit.bls`."""
        return cls(*wire)

    @property
    def wire(self) -> G1Wire:
        """The wire form of `deltaproof.protocol.commit.bls`."""
        return (self.x, self.y)


@dataclass(frozen=True)
class G2Point:
    """Affine point of G2; each coordinate is (imaginary, real)."""

    x: tuple[int, int]
    y: tuple[int, int]

    @classmethod
    def of(cls, wire: G2Wire) -> G2Point:
        """From the wire form of `deltaproof.protocol.commit.bls`."""
        return cls((wire[0], wire[1]), (wire[2], wire[3]))

    @property
    def wire(self) -> G2Wire:
        """The wire form of `deltaproof.protocol.commit.bls`."""
        return (*self.x, *self.y)


@dataclass(frozen=True)
class BeaconNetwork:
    """The drand network of a beacon, and how requests relate to its rounds; times in seconds."""

    public_key: G2Point
    genesis: int
    period: int
    lead_seconds: int
    """A request is decided by the first round that comes at least so much later."""
    patience_seconds: int
    """So long after its round's time a request that nobody served falls back to a block."""
    chain_hash: Digest32

    @classmethod
    def of(cls, network: DrandNetwork, lead_seconds: int, patience_seconds: int) -> BeaconNetwork:
        """The terms of a beacon on that network."""
        key = G2Point.of(network.public_key)
        return cls(key, network.genesis, network.period, lead_seconds, patience_seconds, network.chain_hash)

    @property
    def drand(self) -> DrandNetwork:
        """The network alone."""
        return DrandNetwork(self.public_key.wire, self.genesis, self.period, self.chain_hash)


@dataclass(frozen=True)
class FixedSeed:
    """A beacon's answer; `seed` is zero before it is fixed."""

    seed: Digest32
    fixed: bool


@dataclass(frozen=True)
class RewardTerms:
    """What a round pays: amounts in the reward token, `bps` basis points, `target_nanos` nano-nats.

    `target_nanos` is the improvement that releases the whole budget (0: always), `floor_bps` the part of the released
    budget for every accepted trainer before scores count, `cap_bps` the most that one trainer gets of it, `base_bps` of
    the budget the least that a round's work costs the sponsor.
    """

    budget_per_round: TokenAmount
    verifier_fee_bps: int
    target_nanos: int
    floor_bps: int
    cap_bps: int
    base_bps: int


@dataclass(frozen=True)
class StakeTerms:
    """What participants risk: amounts in the stake token, `bps` basis points.

    `commit_bond` is the part of a trainer's stake that a commitment without reveal costs, `slash_bps` what a rejected
    or withheld round costs of the locked stake, `prover_bps` the prover's part of a slash, `absence_bps` what a round
    without attestation costs a verifier; it doubles with every round missed in a row.
    """

    trainer_stake: TokenAmount
    commit_bond: TokenAmount
    verifier_stake: TokenAmount
    slash_bps: int
    prover_bps: int
    absence_bps: int


@dataclass(frozen=True)
class QuorumTerms:
    """Who must sign and take part: basis points of the verifiers' stake, and numbers of enrolled participants.

    `score_tolerance_nanos` is the largest difference of a score, in nano-nats, between verifiers who still agree.
    """

    quorum_bps: int
    min_trainers: int
    max_trainers: int
    min_verifiers: int
    score_tolerance_nanos: int


@dataclass(frozen=True)
class TrainingTerms:
    """The work of a task: rounds, steps a round, trainable float32 values, and samples of each trainer.

    `float32_delta`: the delta's digest is the component root of the final adapter. All verifiers replay the
    samples, besides the first and the last step.
    """

    rounds: int
    steps: int
    parameters: int
    optimizer: Optimizer
    float32_delta: bool
    samples: int


@dataclass(frozen=True)
class PhaseSeconds:
    """Longest duration of each phase, seconds.

    `slash` is how long after a round its stakes stay slashable at least, `claim` how long its rewards can be claimed,
    `activation` how long a verifier's stake is locked before it weighs in a quorum.
    """

    commit: int
    reveal: int
    opening: int
    attest_commit: int
    attest_reveal: int
    settle: int
    window: int
    slash: int
    claim: int
    activation: int

    @property
    def shortest(self) -> int:
        """Of the phases in which a participant has to act."""
        return min(self.commit, self.reveal, self.opening, self.attest_commit, self.attest_reveal, self.settle)


@dataclass(frozen=True)
class TaskParams:
    """Everything that a task fixes for ever."""

    token: Address
    spec_hash: Digest32
    start_digest: Digest32
    constants_root: Digest32
    rewards: RewardTerms
    stakes: StakeTerms
    quorum: QuorumTerms
    training: TrainingTerms
    phases: PhaseSeconds


@dataclass(frozen=True)
class TaskState:
    """What changes of a task; `round` is the last that was opened, 0 before the first."""

    cancelled: bool
    round: RoundIndex
    adapter_digest: Digest32


@dataclass(frozen=True)
class TaskView:
    """A task as it stands: what it fixed (`TaskTerms`) and where it is (`TaskManager`)."""

    sponsor: Address
    cancelled: bool
    round: RoundIndex
    adapter_digest: Digest32
    params: TaskParams


@dataclass(frozen=True)
class RoundView:
    """A round as it stands or ended."""

    outcome: Outcome
    attempts: int
    late: bool
    """Whether a majority settles, because the settle phase passed once without a settlement."""
    validation_revealed: bool
    verifier_set_version: int
    ended_at: int
    attesting_block: int
    """Block in which verifiers could begin to attest, 0 before; faults of earlier ones belong into the verdicts."""
    start_digest: Digest32
    order_seed: Digest32
    challenge_seed: Digest32
    validation_digest: Digest32
    settlement: Settlement


@dataclass(frozen=True)
class PhaseView:
    """The current phase; `deadline` is 0 in phases without one; `due`: `advance` or `finalize` would move it on now."""

    round: RoundIndex
    phase: Phase
    deadline: int
    due: bool


@dataclass(frozen=True)
class QuorumProof:
    """What the members of a quorum sign together; `non_signers` by ascending address."""

    non_signers: tuple[Address, ...]
    signers_key: G2Point
    signature: G1Point


@dataclass(frozen=True)
class RevealData:
    """What a trainer's commitment seals."""

    delta_digest: Digest32
    transcript_root: Digest32
    salt: Digest32


@dataclass(frozen=True)
class CommitmentRef:
    """Where a commitment was made; the default is a direct one."""

    batch_id: int = 0
    index: int = 0
    position: int = 0
    count: int = 0
    proof: tuple[Digest32, ...] = ()


@dataclass(frozen=True)
class ScoreLeaf:
    """One trainer's part of a verifier's attestation."""

    trainer: Address
    verdict: Verdict
    score_nanos: int


@dataclass(frozen=True)
class ScorePair:
    """What a verifier attested about a trainer beside what was settled; `index` is the position of both leaves."""

    verifier: Address
    index: int
    attested: ScoreLeaf
    attested_proof: tuple[Digest32, ...]
    settled: SettlementLeaf
    settled_proof: tuple[Digest32, ...]


@dataclass(frozen=True)
class Modules:
    """The contracts of one deployment."""

    registry: Address
    beacon: Address
    terms: Address
    tasks: Address
    trainers: Address
    verifiers: Address
    vault: Address
    fees: Address
    court: Address
    jury: Address
    faults: Address
    settlements: Address


@dataclass(frozen=True)
class StakeAccount:
    """`total` holds free, locked and unbonding stake."""

    total: TokenAmount
    locked: TokenAmount
    unbonding: TokenAmount
    withdrawable_at: int

    @property
    def free(self) -> TokenAmount:
        """What can be locked or unbonded."""
        return TokenAmount(self.total - self.locked - self.unbonding)


FOREVER = RoundIndex(2**32 - 1)
"""`active_until` of whoever has not stopped."""


@dataclass(frozen=True)
class TrainerEnrolment:
    """A trainer in a task; `index` 0: never enrolled."""

    index: int
    active_from: RoundIndex
    active_until: RoundIndex
    stake: TokenAmount
    data_rows: int
    data_root: Digest32

    @property
    def takes_part(self) -> bool:
        """Whether the task holds a stake: from enrolment until it is unlocked."""
        return self.active_from != 0


@dataclass(frozen=True)
class TrainerWork:
    """What a trainer did in a round, and what was established about it."""

    committed: bool
    revealed: bool
    opened: bool
    forfeited: bool
    slashed: bool
    fault: Fault
    fault_block: int
    """Block in which it was established, 0 without a fault."""
    commitment: Digest32
    """The direct commitment, zero if there is none."""


@dataclass(frozen=True)
class TrainerProgress:
    """Who acted in the current round, batches included."""

    round: RoundIndex
    expected: int
    committed: int
    revealed: int
    opened: int
    batches: int
    direct: int


@dataclass(frozen=True)
class SignedCommit:
    """A commitment that its trainer signed for a relayer (EIP-712; compact signature of EIP-2098)."""

    commitment: Digest32
    r: Digest32
    vs: Digest32


@dataclass(frozen=True)
class BatchReveal:
    """One position of a batch at its reveal; `index` is the trainer's in the task.

    Not revealed: salt and delta digest are zero, `transcript_root` is the bare commitment.
    """

    index: int
    trainer: Address
    delta_digest: Digest32
    transcript_root: Digest32
    salt: Digest32


@dataclass(frozen=True)
class VerifierEnrolment:
    """A verifier in a task; `index` 0: never enrolled."""

    index: int
    active_from: RoundIndex
    active_until: RoundIndex
    stake: TokenAmount
    weight: TokenAmount
    """What counts in the quorum: the stake when it became active."""
    prior_from: RoundIndex
    prior_until: RoundIndex
    active_at: int
    """When the stake may join the quorum, seconds since the epoch; 0: not enrolled."""
    misses: int
    """Rounds in a row without an attestation."""

    @property
    def takes_part(self) -> bool:
        """Whether the task holds a stake: from enrolment until it is unlocked."""
        return self.active_at != 0

    def in_quorum(self, round_index: RoundIndex) -> bool:
        """Whether the verifier belongs to the quorum of a round."""
        now = 0 < self.active_from <= round_index <= self.active_until
        return now or 0 < self.prior_from <= round_index <= self.prior_until


@dataclass(frozen=True)
class VerifierProgress:
    """Who acted in the current round, and which version of the set forms its quorum."""

    round: RoundIndex
    expected: int
    committed: int
    revealed: int
    version: int
    attested: TokenAmount
    """Weight of those who revealed an attestation."""


@dataclass(frozen=True)
class Checkpoint:
    """A version of a task's verifier set: sum of keys, sum of stakes, number."""

    key: G1Point
    weight: TokenAmount
    members: int


@dataclass(frozen=True)
class AttestationStatus:
    """A verifier's attestation; `digest` is the sealed commitment, after the reveal the verdicts digest."""

    state: AttestationState
    struck_attempt: int
    """Settlement attempt of the round (from 1) for which it was struck from the fees, 0 for none."""
    weight: TokenAmount
    digest: Digest32
    scores_root: Digest32


@dataclass(frozen=True)
class FeePot:
    """What a settled round owes to the verifiers who agreed with it."""

    fee: TokenAmount
    weight: TokenAmount
    slash_rewards: TokenAmount
    slash_rewards_paid: TokenAmount


@dataclass(frozen=True)
class Account:
    """A task's money that is not yet in a round's pot."""

    token: Address
    balance: TokenAmount
    reserved: TokenAmount


@dataclass(frozen=True)
class RoundPot:
    """What is left to claim of a settled round."""

    root: Digest32
    remaining: TokenAmount
    fees: TokenAmount
    expires_at: int
    base_each: TokenAmount
    """Due to everyone who revealed and opened in a round that ended without a settlement."""


@dataclass(frozen=True)
class Closure:
    """Why a trainer's claim on a round is closed."""

    holds: int
    """Demands that it has not answered."""
    blocked: bool
    """Whether a fault of it was established."""
    returned: bool
    """Whether the blocked pay went back to the task."""
