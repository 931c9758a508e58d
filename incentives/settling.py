"""From the revealed attestations of a round to its settlement: one pure function, the same for signer and auditor.

Nobody proposes: verdicts are the stake-weighted majority of the revealed attestations, scores their stake-weighted
lower median, pay follows by the task's rule. So every verifier that sees the chain and the store computes the
same settlement, signs it if it is within tolerance of what it found itself, and signs nothing else in that round.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from eth_utils.crypto import keccak

from deltaproof.errors import DeltaproofError
from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import (
    SettlementLeaf,
    SettlementProposal,
    Verdict,
    build_settlement,
    verdicts_digest,
)
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, address_bytes
from incentives.payouts import PayoutEntry, Payouts, PayoutTerms, compute_payouts

__all__ = [
    "Disagreement",
    "NothingToSettle",
    "RevealedAttestation",
    "Rewards",
    "attested_alike",
    "compose_settlement",
    "disagreements",
    "payouts_of",
]


class NothingToSettle(DeltaproofError):
    """No usable attestation of the round was revealed."""


@dataclass(frozen=True, slots=True)
class RevealedAttestation:
    """An attestation that was revealed in time and matches its digest on chain, with its verifier's stake."""

    attestation: Attestation
    stake: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Why a verifier does not sign: what it found, and what the settlement says."""

    trainer: Address | None
    what: str
    own: int
    settled: int

    def __str__(self) -> str:
        whose = f"{self.trainer}: " if self.trainer else ""
        return f"{whose}{self.what} is {self.settled} in the settlement, {self.own} by my own computation"


def compose_settlement(
    spec: TaskSpec,
    challenge_seed: Digest32,
    trainers: Sequence[Address],
    revealed: Sequence[RevealedAttestation],
    *,
    scored: bool,
    faulty: Collection[Address] = (),
) -> SettlementProposal:
    """The settlement that follows from the revealed attestations and from the faults that the chain knew before them.

    Args:
        trainers: all who committed in the round, by the chain, sorted by address.
        revealed: in any order. An attestation that does not cover exactly these trainers has no say.
        scored: whether the sponsor revealed the round's validation set.
        faulty: trainers whose fault was established before verifiers could attest. They are rejected, whoever attested
            what: a contract's proof is no matter of opinion.

    Raises NothingToSettle if no usable attestation was revealed.
    """
    usable = [r for r in revealed if [f.trainer for f in r.attestation.findings] == list(trainers)]
    if not usable:
        raise NothingToSettle("no usable attestation was revealed: there is nothing to settle")
    ordered = sorted(usable, key=lambda r: _lot(challenge_seed, r.attestation.verifier))

    findings = [
        TrainerFinding(trainer=trainer, verdict=Verdict.REJECTED)
        if trainer in faulty
        else _settled_finding(ordered, index)
        for index, trainer in enumerate(trainers)
    ]
    voted = verdicts_digest([finding.leaf() for finding in findings])
    agreeing = [r for r in ordered if verdicts_digest(r.attestation.leaves()) == voted] or ordered
    source = _source(agreeing)
    improvement = _median(agreeing, lambda a: a.improvement_nanos)

    leaves = tuple(finding.leaf() for finding in findings)
    payouts = payouts_of(spec.rewards, leaves, improvement, scored=scored)
    paid = tuple(f.leaf(amount) for f, amount in zip(findings, payouts.amounts, strict=True))
    settlement = build_settlement(paid, source.next_start_digest, improvement, source.digest())
    return SettlementProposal(settlement=settlement, leaves=paid)


class Rewards(Protocol):
    """What a task fixes about its pay: as its spec says it, or as the chain does."""

    @property
    def budget_per_round(self) -> int: ...
    @property
    def target_nanos(self) -> int: ...
    @property
    def floor_bps(self) -> int: ...
    @property
    def cap_bps(self) -> int: ...
    @property
    def base_bps(self) -> int: ...


def payouts_of(rewards: Rewards, leaves: Sequence[SettlementLeaf], improvement_nanos: int, *, scored: bool) -> Payouts:
    """The task's payout rule applied to settlement leaves, whatever payouts they carry."""
    terms = PayoutTerms(
        budget=rewards.budget_per_round,
        improvement_nanos=improvement_nanos,
        target_nanos=rewards.target_nanos,
        floor_bps=rewards.floor_bps,
        cap_bps=rewards.cap_bps,
        scored=scored,
        base_bps=rewards.base_bps,
    )
    entries = [PayoutEntry(x.verdict == Verdict.ACCEPTED, x.score_nanos, x.discount_bps) for x in leaves]
    return compute_payouts(terms, entries)


def disagreements(spec: TaskSpec, own: Attestation, proposal: SettlementProposal) -> list[Disagreement]:
    """Everything in a settlement that a verifier cannot put its name to."""
    found: list[Disagreement] = []
    mine = own.by_trainer()
    for leaf in proposal.leaves:
        finding = mine.get(leaf.trainer)
        if finding is None:
            found.append(Disagreement(leaf.trainer, "commitment", 0, 1))
            continue
        if finding.verdict != leaf.verdict:
            found.append(Disagreement(leaf.trainer, "verdict", finding.verdict, leaf.verdict))
        if finding.discount_bps != leaf.discount_bps:
            found.append(Disagreement(leaf.trainer, "discount", finding.discount_bps, leaf.discount_bps))
        if abs(finding.score_nanos - leaf.score_nanos) > spec.scoring.tolerance_nanos:
            found.append(Disagreement(leaf.trainer, "score", finding.score_nanos, leaf.score_nanos))
    settled = {leaf.trainer for leaf in proposal.leaves}
    found += [Disagreement(t, "commitment", 1, 0) for t in mine if t not in settled]
    improvement = proposal.settlement.improvement_nanos
    if abs(own.improvement_nanos - improvement) > spec.scoring.tolerance_nanos:
        found.append(Disagreement(None, "improvement", own.improvement_nanos, improvement))
    return found


def attested_alike(spec: TaskSpec, own: Attestation, other: Attestation) -> bool:
    """Whether two attestations are about the same round's same work, within the task's tolerance: whoever can attest
    what another computes had what it was computed from."""
    mine, theirs = own.by_trainer(), other.by_trainer()
    if (own.game is None) != (other.game is None) or set(mine) != set(theirs):
        return False
    pairs = [(mine[trainer], theirs[trainer]) for trainer in mine]
    numbers = [(a.score_nanos, b.score_nanos) for a, b in pairs] + [(own.improvement_nanos, other.improvement_nanos)]
    alike = all((a.verdict, a.discount_bps) == (b.verdict, b.discount_bps) for a, b in pairs)
    return alike and all(abs(a - b) <= spec.scoring.tolerance_nanos for a, b in numbers)


def _settled_finding(ordered: Sequence[RevealedAttestation], index: int) -> TrainerFinding:
    votes: dict[Verdict, int] = {}
    for r in ordered:
        verdict = r.attestation.findings[index].verdict
        votes[verdict] = votes.get(verdict, 0) + r.stake
    # A tie goes to the smaller code: accepted before rejected.
    verdict = min(votes, key=lambda v: (-votes[v], v))
    agreeing = [r for r in ordered if r.attestation.findings[index].verdict == verdict]
    return TrainerFinding(
        trainer=ordered[0].attestation.findings[index].trainer,
        verdict=verdict,
        score_nanos=_median(agreeing, lambda a: a.findings[index].score_nanos),
        stderr_nanos=_median(agreeing, lambda a: a.findings[index].stderr_nanos),
        discount_bps=_median(agreeing, lambda a: a.findings[index].discount_bps),
    )


def _source(agreeing: Sequence[RevealedAttestation]) -> Attestation:
    """Whose adapter the next round starts from, of attestations in the order of the lot.

    It is one that somebody computed, never a mixture, and the one with the most stake behind it. Attack: split a little
    stake over so many identities that the lot falls on one of them, whose adapter no honest verifier signs.
    """
    stakes: dict[Digest32, int] = {}
    for r in agreeing:
        digest = r.attestation.next_start_digest
        stakes[digest] = stakes.get(digest, 0) + r.stake
    return max(agreeing, key=lambda r: stakes[r.attestation.next_start_digest]).attestation


def _median(revealed: Sequence[RevealedAttestation], read: Callable[[Attestation], int]) -> int:
    """Stake-weighted lower median: the smallest value with at least half of the stake at or below it."""
    values = sorted((read(r.attestation), r.stake) for r in revealed)
    total, seen = sum(stake for _, stake in values), 0
    for value, stake in values:
        seen += stake
        if 2 * seen >= total:
            return value
    raise AssertionError("unreachable: the stakes add up to their sum")


def _lot(challenge_seed: Digest32, verifier: Address) -> bytes:
    return keccak(challenge_seed + address_bytes(verifier))
