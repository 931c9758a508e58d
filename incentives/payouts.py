"""The payout rule of docs/protocol.md, section 5, in integers; contracts/libraries/PayoutRule.sol is its twin.

Amounts are in the reward token's smallest unit, scores and improvements in nano-nats, rates in basis points.
Both sides are held together by tests/vectors/payouts.json.

Properties (tests/incentives/test_payouts.py):
  1. sum(payouts) + returned == budget, and sum(payouts) <= max(released, base) <= budget.
  2. Without a cap that binds, the payouts add up to `released` exactly as soon as somebody has weight.
  3. A payout never falls when the trainer's own score rises: the rise shrinks everybody else's quota, so nobody whose
     remainder was smaller can overtake.
  4. A payout never rises when somebody else's score rises, by more than the one unit that rounding may move.
  5. Accepted work is paid at least the base in all, but for units that do not divide, whatever the scores and caps.
  6. Order matters only among equal remainders (ties go to the lower index).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deltaproof.errors import DeltaproofError
from deltaproof.protocol.rules import BPS

__all__ = ["PayoutEntry", "PayoutError", "PayoutLine", "PayoutTerms", "Payouts", "compute_payouts"]

_UINT128_MAX = 2**128 - 1
_NOBODY = 2**256 - 1
"""Threshold that no remainder reaches."""
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class PayoutError(DeltaproofError):
    """An input of the payout rule lies outside the range of its type on chain."""


@dataclass(frozen=True, slots=True)
class PayoutTerms:
    """What the task and the round fix.

    `improvement_nanos` is the held-out improvement of the whole aggregate; `target_nanos` the one that releases the
    full budget (0: always released). `scored` is false when the sponsor did not reveal its validation set. `base_bps`
    of the budget is the least that accepted work is paid in all.
    """

    budget: int
    improvement_nanos: int
    target_nanos: int
    floor_bps: int
    cap_bps: int
    scored: bool = True
    base_bps: int = 0

    def __post_init__(self) -> None:
        _within("budget", self.budget, 0, _UINT128_MAX)
        _within("improvement_nanos", self.improvement_nanos, _INT64_MIN, _INT64_MAX)
        _within("target_nanos", self.target_nanos, 0, _INT64_MAX)
        _within("floor_bps", self.floor_bps, 0, BPS)
        _within("cap_bps", self.cap_bps, 0, BPS)
        _within("base_bps", self.base_bps, 0, BPS)

    @property
    def base(self) -> int:
        """The least that a round's accepted work is paid in all."""
        return self.budget * self.base_bps // BPS


@dataclass(frozen=True, slots=True)
class PayoutEntry:
    """One leaf of the settlement, as far as pay depends on it."""

    accepted: bool
    score_nanos: int
    discount_bps: int = 0

    def __post_init__(self) -> None:
        _within("score_nanos", self.score_nanos, _INT64_MIN, _INT64_MAX)
        _within("discount_bps", self.discount_bps, 0, BPS)

    @property
    def earns(self) -> bool:
        """Whether it has a part in floor, shares and base: not rowless, nor a server that the task does not pay."""
        return self.accepted and self.discount_bps < BPS


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """How one payout came about: `payout = min(floor + quotient + unit, cap) + top_up`."""

    weight: int
    floor: int
    quotient: int
    remainder: int
    unit: int
    top_up: int
    payout: int


@dataclass(frozen=True, slots=True)
class Payouts:
    """The result with every intermediate number that `deltaproof explain` shows."""

    released: int
    floor_each: int
    pool: int
    total_weight: int
    cap: int
    returned: int
    top_up: int
    """What everybody who earns gets beyond its share, because scores pay less than the base."""
    threshold: int
    """Remainders with their reversed index (`contracts/libraries/PayoutRule.sol`, `share`) from here on got a unit."""
    lines: tuple[PayoutLine, ...]

    @property
    def amounts(self) -> tuple[int, ...]:
        """Payouts in the order of the entries."""
        return tuple(line.payout for line in self.lines)

    @property
    def total(self) -> int:
        """All payouts together, smallest units of the reward token."""
        return sum(self.amounts)


def compute_payouts(terms: PayoutTerms, entries: Sequence[PayoutEntry]) -> Payouts:
    """Divide a round's budget among its trainers.

    Args:
        terms: the round's terms.
        entries: one per settlement leaf, in leaf order (sorted by address).
    """
    released = _released(terms)
    earning = sum(entry.earns for entry in entries)
    floor_each = released * terms.floor_bps // BPS
    if earning * floor_each > released:
        floor_each = released // earning
    pool = released - earning * floor_each
    cap = released * terms.cap_bps // BPS

    weights = [_weight(entry, terms.scored) for entry in entries]
    total_weight = sum(weights)
    quotas = [divmod(pool * weight, total_weight) if total_weight else (0, 0) for weight in weights]
    units = _largest_remainder_units(pool, total_weight, quotas)

    before = [
        min((floor_each if entry.earns else 0) + quotient + unit, cap)
        for entry, (quotient, _), unit in zip(entries, quotas, units, strict=True)
    ]
    top_up = max(terms.base - sum(before), 0) // earning if earning else 0
    lines = []
    for entry, weight, (quotient, remainder), unit, amount in zip(entries, weights, quotas, units, before, strict=True):
        floor, extra = (floor_each, top_up) if entry.earns else (0, 0)
        lines.append(PayoutLine(weight, floor, quotient, remainder, unit, extra, amount + extra))
    # INVARIANT: quotients and units add up to the pool, floors to the rest, caps only take away, and topping up
    # stops at the base.
    paid = sum(line.payout for line in lines)
    served = [_key(line.remainder, index) for index, line in enumerate(lines) if line.unit]
    threshold = min(served, default=_NOBODY)
    returned = terms.budget - paid
    return Payouts(released, floor_each, pool, total_weight, cap, returned, top_up, threshold, tuple(lines))


def _key(remainder: int, index: int) -> int:
    """Remainder and reversed index in one number: all different, larger means served earlier."""
    return remainder << 32 | (2**32 - 1 - index)


def _released(terms: PayoutTerms) -> int:
    if terms.target_nanos == 0 or not terms.scored:
        return terms.budget
    return terms.budget * min(max(terms.improvement_nanos, 0), terms.target_nanos) // terms.target_nanos


def _weight(entry: PayoutEntry, scored: bool) -> int:
    if not entry.earns:
        return 0
    # INVARIANT: a negative score is clamped before anything multiplies it, so two negatives never make a pay.
    return max(entry.score_nanos, 0) * (BPS - entry.discount_bps) if scored else 1


def _largest_remainder_units(pool: int, total_weight: int, quotas: Sequence[tuple[int, int]]) -> list[int]:
    """0 or 1 for each entry: who gets one of the units that the integer quotients left over (Hamilton's method)."""
    units = [0] * len(quotas)
    if total_weight:
        left = pool - sum(quotient for quotient, _ in quotas)
        by_remainder = sorted(range(len(quotas)), key=lambda i: (-quotas[i][1], i))
        for i in by_remainder[:left]:
            units[i] = 1
    return units


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise PayoutError(f"{name} = {value} is outside {low}..{high}")
