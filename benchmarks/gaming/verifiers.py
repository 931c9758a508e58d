"""Verifiers who collude: what a share of the stake can do to a settlement, by the product's own settlement rule."""

from __future__ import annotations

from hashlib import sha256

from deltaproof.protocol.outcome.attestation import Attestation, TrainerFinding
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.terms.spec import TaskSpec
from deltaproof.protocol.types import Address, Digest32, address
from incentives.settling import RevealedAttestation, compose_settlement, disagreements

__all__ = ["collusion_table"]

VERIFIERS = 10
HONEST_SCORES = (52_000_000, 37_000_000, 61_000_000)
STDERR = 9_000_000


def collusion_table(spec: TaskSpec) -> list[dict[str, object]]:
    """Three honest trainers and a cheat caught by replay; 0 to 7 of ten verifiers lie for the cheat."""
    trainers = sorted(
        (address(sha256(f"trainer/{i}".encode()).digest()[:20]) for i in range(4)), key=lambda a: int(a, 16)
    )
    seed = Digest32(sha256(b"challenge").digest())
    rows: list[dict[str, object]] = []
    for colluding in range(8):
        attestations = [_attestation(trainers, number, lying=number < colluding) for number in range(VERIFIERS)]
        revealed = [RevealedAttestation(attestation, 100) for attestation in attestations]
        proposal = compose_settlement(spec, seed, trainers, revealed, scored=True)
        honest_sign = not disagreements(spec, attestations[-1], proposal)
        liars_sign = not disagreements(spec, attestations[0], proposal) if colluding else True
        signing = colluding * liars_sign + (VERIFIERS - colluding) * honest_sign
        settled = signing * 10_000 >= spec.verification.quorum_bps * VERIFIERS
        budget = int(spec.rewards.budget_per_round)
        pay = [int(leaf.payout) / budget if settled else 0.0 for leaf in proposal.leaves]
        rows.append(
            {
                "share": colluding / VERIFIERS,
                "cheat": pay[3],
                "honest": sum(pay[:3]),
                "settled": settled,
                "honest_sign": honest_sign,
            }
        )
    return rows


def _attestation(trainers: list[Address], number: int, *, lying: bool) -> Attestation:
    """What was found (with rounding that differs between machines), or the lie."""
    findings = []
    for i, trainer in enumerate(trainers):
        if i < len(HONEST_SCORES):
            score = 0 if lying else HONEST_SCORES[i] + number
            findings.append(
                TrainerFinding(trainer=trainer, verdict=Verdict.ACCEPTED, score_nanos=score, stderr_nanos=STDERR)
            )
        elif lying:
            score = 10 * max(HONEST_SCORES)
            findings.append(
                TrainerFinding(trainer=trainer, verdict=Verdict.ACCEPTED, score_nanos=score, stderr_nanos=STDERR)
            )
        else:
            findings.append(TrainerFinding(trainer=trainer, verdict=Verdict.REJECTED))
    return Attestation(
        task=1,
        round=0,
        verifier=address(sha256(f"verifier/{number}".encode()).digest()[:20]),
        findings=tuple(findings),
        game=None,
        improvement_nanos=150_000_000,
        next_start_digest=Digest32(sha256(b"lie" if lying else b"next").digest()),
    )
