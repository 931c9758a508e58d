"""The promise that sampling makes, and what it leaves to stake.

Drawing k of N steps without repetition misses a set of b corrupted steps with probability C(N-b, k) / C(N, k), at most
(1 - b/N)^k. So k = ceil(ln(1-p) / ln(1-f)), `protocol.draws.samples.samples_needed`, catches a trainer who
corrupts the fraction f of its steps with probability p. A single corrupted step, neither first nor last, escapes with
probability 1 - k/N: that is not caught but priced.
"""

from __future__ import annotations

import math

from deltaproof.protocol.rules import BPS

__all__ = ["detection_probability", "stake_for"]


def detection_probability(steps: int, corrupted: int, samples: int) -> float:
    """Probability that `samples` of `steps`, drawn without repetition, hit one of `corrupted` steps."""
    if not 0 <= corrupted <= steps or samples < 0:
        raise ValueError("0 <= corrupted <= steps and samples >= 0")
    clean = steps - corrupted
    drawn = min(samples, steps)
    if drawn > clean:
        return 1.0
    return 1.0 - math.prod((clean - i) / (steps - i) for i in range(drawn))


def stake_for(gain: int, detection: float, slash_bps: int) -> int:
    """Smallest stake, in token units, at which cheating for `gain` does not pay on average.

    Solves `detection * slashed = (1 - detection) * gain`: a caught cheat gains nothing and loses the slashed share.
    `detection` is the probability to be caught, in (0, 1].
    """
    if not 0.0 < detection <= 1.0 or not 0 < slash_bps <= BPS:
        raise ValueError("detection lies in (0, 1] and slash_bps in 1..10000")
    return math.ceil(gain * (1.0 - detection) / detection * BPS / slash_bps)
