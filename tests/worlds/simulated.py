"""A round without training: what its participants commit, find, settle and sign, named by digests.

Whoever drives the contracts in a test or a benchmark takes these, on whichever way to the chain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from deltaproof.chain.abi.enums import Optimizer
from deltaproof.chain.abi.structs import (
    G1Point,
    G2Point,
    PhaseSeconds,
    QuorumProof,
    QuorumTerms,
    RevealData,
    RewardTerms,
    StakeTerms,
    TaskParams,
    TrainingTerms,
)
from deltaproof.protocol.commit.bls import SETTLEMENT_DOMAIN, SecretKey, aggregate_keys, aggregate_signatures
from deltaproof.protocol.commit.commitments import (
    RoundDomain,
    attestation_hash,
    commitment_hash,
    validation_commitment,
)
from deltaproof.protocol.outcome.settlement import (
    Settlement,
    SettlementLeaf,
    Verdict,
    build_settlement,
    scores_tree,
    verdicts_digest,
)
from deltaproof.protocol.types import Address, Digest32, TokenAmount, address_bytes
from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts

__all__ = [
    "UNIT",
    "Terms",
    "attestation_of",
    "bls_key",
    "digest",
    "leaves_of",
    "quorum_proof",
    "seal_attestation",
    "seal_work",
    "settlement_of",
    "validation_sets",
    "work_of",
]


UNIT = 10**18


def digest(*parts: object) -> Digest32:
    """A digest that names itself."""
    return Digest32(sha256(repr(parts).encode()).digest())


@dataclass(frozen=True)
class Terms:
    """A task's terms with small defaults; amounts in the token's smallest unit, times in seconds."""

    budget: int = 1_000 * UNIT
    fee_bps: int = 1_000
    target_nanos: int = 0
    floor_bps: int = 0
    cap_bps: int = 10_000
    base_bps: int = 2_000
    trainer_stake: int = 100 * UNIT
    commit_bond: int = 10 * UNIT
    verifier_stake: int = 200 * UNIT
    slash_bps: int = 5_000
    prover_bps: int = 2_000
    absence_bps: int = 100
    quorum_bps: int = 6_667
    min_trainers: int = 1
    max_trainers: int = 4_096
    min_verifiers: int = 1
    tolerance_nanos: int = 1_000
    rounds: int = 3
    steps: int = 4
    parameters: int = 600
    optimizer: Optimizer = Optimizer.ADAM
    float32_delta: bool = True
    samples: int = 2
    phase_seconds: int = 600
    """Of each phase up to the settlement."""
    window_seconds: int = 600
    slash_seconds: int = 3_600
    claim_seconds: int = 86_401
    activation_seconds: int = 0

    def params(self, token: Address) -> TaskParams:
        """As the contract takes them."""
        bond, phase = TokenAmount(self.commit_bond), self.phase_seconds
        return TaskParams(
            token=token,
            spec_hash=digest("spec"),
            start_digest=digest("start adapter"),
            constants_root=digest("constants"),
            rewards=RewardTerms(
                TokenAmount(self.budget),
                self.fee_bps,
                self.target_nanos,
                self.floor_bps,
                self.cap_bps,
                self.base_bps,
            ),
            stakes=StakeTerms(
                TokenAmount(self.trainer_stake),
                bond,
                TokenAmount(self.verifier_stake),
                self.slash_bps,
                self.prover_bps,
                self.absence_bps,
            ),
            quorum=QuorumTerms(
                self.quorum_bps, self.min_trainers, self.max_trainers, self.min_verifiers, self.tolerance_nanos
            ),
            training=TrainingTerms(
                self.rounds, self.steps, self.parameters, self.optimizer, self.float32_delta, self.samples
            ),
            phases=PhaseSeconds(
                phase,
                phase,
                phase,
                phase,
                phase,
                phase,
                self.window_seconds,
                self.slash_seconds,
                self.claim_seconds,
                self.activation_seconds,
            ),
        )

    def payouts(self, improvement_nanos: int, *, scored: bool = True) -> PayoutTerms:
        """What decides a round's payouts."""
        return PayoutTerms(
            self.budget, improvement_nanos, self.target_nanos, self.floor_bps, self.cap_bps, scored, self.base_bps
        )

    @property
    def fee(self) -> int:
        """What a round pays its verifiers."""
        return self.budget * self.fee_bps // 10_000

    @property
    def funding(self) -> int:
        """What all rounds cost."""
        return self.rounds * (self.budget + self.fee)


def bls_key(name: object) -> SecretKey:
    """A BLS key from a name."""
    return SecretKey.from_seed(digest("bls key", name))


def validation_sets(count: int) -> tuple[list[tuple[Digest32, Digest32]], list[Digest32]]:
    """Digest and salt of so many validation sets, and their commitments."""
    sets = [(digest("validation set", i), digest("validation salt", i)) for i in range(count)]
    return sets, [validation_commitment(*each) for each in sets]


def work_of(domain: RoundDomain, trainer: Address) -> RevealData:
    """What a trainer did in a round."""
    delta, root, salt = (digest(part, trainer, domain.task_id, domain.round) for part in ("delta", "root", "salt"))
    return RevealData(delta, root, salt)


def seal_work(domain: RoundDomain, trainer: Address, work: RevealData | None = None) -> Digest32:
    """The commitment to it, or to other work."""
    work = work or work_of(domain, trainer)
    return commitment_hash(domain, trainer, work.delta_digest, work.transcript_root, work.salt)


def leaves_of(
    trainers: Collection[Address],
    terms: PayoutTerms,
    verdicts: Mapping[Address, Verdict] | None = None,
    scores: Mapping[Address, int] | None = None,
) -> list[SettlementLeaf]:
    """Leaves with payouts by the rule; everyone accepted with scores 1,000, 2,000, ... unless said otherwise."""
    listed = sorted(trainers, key=address_bytes)
    verdict = {trainer: (verdicts or {}).get(trainer, Verdict.ACCEPTED) for trainer in listed}
    score = {trainer: (scores or {}).get(trainer, 1_000 * (i + 1)) for i, trainer in enumerate(listed)}
    entries = [PayoutEntry(verdict[trainer] is Verdict.ACCEPTED, score[trainer]) for trainer in listed]
    payouts = compute_payouts(terms, entries).amounts
    return [
        SettlementLeaf(
            trainer=trainer,
            verdict=verdict[trainer],
            score_nanos=score[trainer],
            stderr_nanos=7,
            payout=TokenAmount(amount),
        )
        for trainer, amount in zip(listed, payouts, strict=True)
    ]


def settlement_of(domain: RoundDomain, leaves: Sequence[SettlementLeaf], improvement_nanos: int = 10**9) -> Settlement:
    """The settlement of a round's leaves."""
    after = digest("adapter after", domain.task_id, domain.round)
    return build_settlement(leaves, after, improvement_nanos, digest("evidence"))


def attestation_of(domain: RoundDomain, leaves: Sequence[SettlementLeaf], verifier: Address) -> dict[str, Digest32]:
    """What a verifier reveals that found these leaves, in the contract's order."""
    return {
        "verdicts_digest": verdicts_digest(leaves),
        "scores_root": scores_tree(leaves).root,
        "artifact_digest": digest("artifact", verifier),
        "salt": digest("attestation salt", verifier, domain.round),
    }


def seal_attestation(domain: RoundDomain, leaves: Sequence[SettlementLeaf], verifier: Address) -> Digest32:
    """What it commits before."""
    return attestation_hash(domain, verifier, **attestation_of(domain, leaves, verifier))


def quorum_proof(
    domain: RoundDomain, settlement: Settlement, keys: Mapping[Address, SecretKey], signers: Collection[Address]
) -> QuorumProof:
    """Signatures of `signers` under a settlement; `keys` are those of all the round's verifiers."""
    message = settlement.signing_digest(domain, attempt=0)
    signed = [keys[signer] for signer in sorted(signers, key=address_bytes)]
    return QuorumProof(
        non_signers=tuple(sorted(set(keys) - set(signers), key=address_bytes)),
        signers_key=G2Point.of(aggregate_keys(key.public_key() for key in signed).g2),
        signature=G1Point.of(aggregate_signatures(key.sign(SETTLEMENT_DOMAIN, message) for key in signed).point),
    )
