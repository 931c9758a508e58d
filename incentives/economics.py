"""What a task's terms make worth whose while: one function from terms to numbers. Its page is docs/economics.md.

Amounts are in the smallest unit of their token. Where a number compares pay with stake, it takes both tokens at par: a
sponsor whose reward token is worth something else multiplies.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from deltaproof.protocol.rules import BPS
from deltaproof.protocol.terms.spec import TaskSpec

__all__ = ["Economics", "economics", "unseen"]

NEVER_REPLAYED = Fraction(1)
"""Chance that a wrong step stays unseen if nobody honest verifies."""


@dataclass(frozen=True, slots=True)
class Economics:
    """What the terms promise, threaten, and leave open."""

    fee: int
    """What a verifier of the smallest set earns in a settled round."""
    missed: Fraction
    """Chance that one wrong step is replayed by no honest verifier."""
    trainer_stake: int
    """Least stake that makes one wrong step a loss even if it would win a whole round's budget."""
    quorum_at_stake: int
    """What the smallest quorum that signs a provably wrong settlement loses."""
    blocked_round: int
    """What a round pays less, at most, if no quorum comes and only the base is paid."""
    absence: int
    """What a blocking part of the smallest set pays for the first round it stays away from; doubles in a row."""
    warnings: tuple[str, ...]
    """Where the terms leave somebody a reason to cheat."""


def economics(spec: TaskSpec, honest: int | None = None) -> Economics:
    """Numbers of a spec whose smallest verifier set has `honest` honest members; by default as many as have to sign.

    Raises ValueError if there are not so many.
    """
    rewards, terms = spec.rewards, spec.verification
    verifiers = terms.min_verifiers
    signers = -(-verifiers * terms.quorum_bps // BPS)
    honest = signers if honest is None else honest
    if not 0 <= honest <= verifiers:
        raise ValueError(f"honest is {honest}, not between 0 and {verifiers}")
    missed = unseen(spec.training.steps, terms.samples, honest)
    pool = rewards.budget_per_round
    slashed = terms.min_trainer_stake * terms.slash_bps // BPS
    needed = ceil(missed / (1 - missed) * pool * BPS / terms.slash_bps) if missed < 1 and terms.slash_bps else 0
    at_stake = signers * (terms.min_verifier_stake * terms.slash_bps // BPS)
    blocking = verifiers - signers + 1
    absence = blocking * (terms.min_verifier_stake * terms.absence_bps // BPS)
    fee = pool * rewards.verifier_fee_bps // BPS // verifiers
    warnings = []
    if fee == 0:
        warnings.append("rewards.verifier_fee_bps: verifiers earn nothing, so only who has another reason will check")
    if (1 - missed) * slashed < missed * pool:
        warnings.append(
            f"verification.min_trainer_stake: one wrong step stays unseen with {float(missed):.0%} and may win {pool}; "
            f"what it risks is worth less ({needed} would do, or more verification.samples)"
        )
    if at_stake < pool:
        warnings.append(
            f"verification.min_verifier_stake: {signers} verifiers decide over {pool} and lose {at_stake} if they lie"
        )
    return Economics(fee, missed, needed, at_stake, pool - pool * rewards.base_bps // BPS, absence, tuple(warnings))


def unseen(steps: int, samples: int, honest: int) -> Fraction:
    """Chance that one step, chosen by whoever cheats, is replayed by none of `honest` verifiers.

    The first and the last are always replayed; between them each verifier replays other steps than the rest until all
    are replayed once (docs/protocol/rounds.md, Samples).
    """
    if honest == 0:
        return NEVER_REPLAYED
    between = max(steps - 2, 0)
    return Fraction(0) if between == 0 else 1 - Fraction(min(honest * min(samples, between), between), between)
