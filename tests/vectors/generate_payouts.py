"""Writes payouts.json: cases of the payout rule that Python and Solidity must agree on.

    python tests/vectors/generate_payouts.py

Wide integers are decimal strings, so that any JSON reader keeps them exact. `verdicts` are verdict codes (1 accepted).
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from incentives.payouts import PayoutEntry, PayoutTerms, compute_payouts

UINT128_MAX = 2**128 - 1
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
Leaf = tuple[int, int, int]  # verdict code, score in nano-nats, discount in basis points


@dataclass
class Draw:
    """A stream of uniform integers from SHA-256 in counter mode."""

    name: str
    counter: int = 0

    def below(self, bound: int) -> int:
        self.counter += 1
        block = hashlib.sha256(f"{self.name}/{self.counter}".encode()).digest()
        return int.from_bytes(block, "big") % bound

    def between(self, low: int, high: int) -> int:
        return low + self.below(high - low + 1)


def case(name: str, terms: PayoutTerms, leaves: list[Leaf]) -> dict[str, object]:
    result = compute_payouts(terms, [PayoutEntry(verdict == 1, score, discount) for verdict, score, discount in leaves])
    return {
        "name": name,
        "budget": str(terms.budget),
        "improvementNanos": str(terms.improvement_nanos),
        "targetNanos": str(terms.target_nanos),
        "floorBps": terms.floor_bps,
        "capBps": terms.cap_bps,
        "baseBps": terms.base_bps,
        "scored": terms.scored,
        "verdicts": [verdict for verdict, _, _ in leaves],
        "scoreNanos": [str(score) for _, score, _ in leaves],
        "discountBps": [discount for _, _, discount in leaves],
        "released": str(result.released),
        "floorEach": str(result.floor_each),
        "pool": str(result.pool),
        "totalWeight": str(result.total_weight),
        "cap": str(result.cap),
        "topUp": str(result.top_up),
        "threshold": str(result.threshold),
        "payouts": [str(amount) for amount in result.amounts],
        "totalPayout": str(result.total),
    }


def chosen_cases() -> Iterator[dict[str, object]]:
    full = PayoutTerms(1_000_000, 10**9, 0, 0, 10_000)
    yield case("nobody committed", full, [])
    yield case("one trainer takes all", full, [(1, 5, 0)])
    yield case("one trainer with zero score", full, [(1, 0, 0)])
    yield case("one trainer with negative score", full, [(1, -5, 0)])
    yield case("proportional", full, [(1, 1, 0), (1, 2, 0), (1, 5, 0)])
    yield case("negative times negative stays zero", full, [(1, -7, 0), (1, -7, 10_000), (1, 3, 0)])
    yield case("everyone negative", full, [(1, -1, 0), (1, -2, 0), (1, INT64_MIN, 0)])
    yield case("nobody accepted", full, [(2, 100, 0), (3, 100, 0), (4, 100, 0)])
    yield case(
        "rejected, withheld, unrevealed and none earn nothing",
        full,
        [(0, 9, 0), (1, 9, 0), (2, 9, 0), (3, 9, 0), (4, 9, 0)],
    )
    yield case(
        "seven units among three equals: ties to the lower index", PayoutTerms(7, 1, 0, 0, 10_000), [(1, 4, 0)] * 3
    )
    yield case("eight units among three equals", PayoutTerms(8, 1, 0, 0, 10_000), [(1, 4, 0)] * 3)
    yield case("one unit among four equals", PayoutTerms(1, 1, 0, 0, 10_000), [(1, 4, 0)] * 4)
    yield case("tie only between the last two", PayoutTerms(10, 1, 0, 0, 10_000), [(1, 2, 0), (1, 3, 0), (1, 3, 0)])
    yield case(
        "largest remainder beats larger quota", PayoutTerms(10, 1, 0, 0, 10_000), [(1, 60, 0), (1, 22, 0), (1, 18, 0)]
    )
    yield case("zero weight gets no unit", PayoutTerms(5, 1, 0, 0, 10_000), [(1, 0, 0), (1, 1, 0), (1, 1, 0)])
    yield case("duplicate discounted to nothing", full, [(1, 500, 0), (1, 500, 10_000), (1, 250, 0)])
    yield case("duplicate discounted by half", full, [(1, 500, 0), (1, 500, 5_000), (1, 250, 0)])
    yield case("all weight discounted away", full, [(1, 500, 10_000), (1, 3, 10_000)])
    yield case("discount of one basis point", full, [(1, 1, 1), (1, 1, 0)])
    yield case("zero budget", PayoutTerms(0, 1, 0, 500, 5_000), [(1, 4, 0), (1, 5, 0)])
    yield case("target reached exactly", PayoutTerms(999, 50, 50, 0, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case("target overshot", PayoutTerms(999, INT64_MAX, 50, 0, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case("half of the target", PayoutTerms(999, 25, 50, 0, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case("no improvement", PayoutTerms(999, 0, 50, 1_000, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case("harm releases nothing", PayoutTerms(999, INT64_MIN, INT64_MAX, 1_000, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case("harm without a target still pays", PayoutTerms(999, -5, 0, 0, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case(
        "unscored shares equally",
        PayoutTerms(1_000, -5, 50, 0, 10_000, False),
        [(1, 0, 0), (1, 0, 0), (2, 0, 0), (1, 0, 0)],
    )
    yield case(
        "unscored ignores scores and discounts",
        PayoutTerms(1_000, 0, 50, 0, 10_000, False),
        [(1, 99, 0), (1, -99, 10_000)],
    )
    yield case(
        "unscored with floor and cap", PayoutTerms(1_000, 0, 50, 1_000, 3_000, False), [(1, 0, 0), (1, 0, 0), (4, 0, 0)]
    )
    yield case("unscored and nobody accepted", PayoutTerms(1_000, 0, 50, 1_000, 3_000, False), [(2, 0, 0), (4, 0, 0)])
    yield case(
        "floor for the accepted only",
        PayoutTerms(1_000, 1, 0, 1_000, 10_000),
        [(1, 0, 0), (2, 0, 0), (1, 3, 0), (1, -1, 0)],
    )
    yield case("floors without any weight", PayoutTerms(1_000, 1, 0, 1_000, 10_000), [(1, 0, 0), (1, -3, 0)])
    yield case(
        "floors that would overdraw are cut", PayoutTerms(1_000, 1, 0, 4_000, 10_000), [(1, 1, 0), (1, 2, 0), (1, 3, 0)]
    )
    yield case("floors that take exactly all", PayoutTerms(1_000, 1, 0, 5_000, 10_000), [(1, 1, 0), (1, 2, 0)])
    yield case("floor of everything for one", PayoutTerms(1_000, 1, 0, 10_000, 10_000), [(1, 0, 0)])
    yield case(
        "floor of everything for three", PayoutTerms(1_000, 1, 0, 10_000, 10_000), [(1, 9, 0), (1, 0, 0), (1, 0, 0)]
    )
    yield case("cap cuts the largest, the excess returns", PayoutTerms(1_000, 1, 0, 0, 4_000), [(1, 90, 0), (1, 10, 0)])
    yield case("cap below the floor", PayoutTerms(1_000, 1, 0, 2_000, 1_000), [(1, 90, 0), (1, 10, 0)])
    yield case("cap of zero", PayoutTerms(1_000, 1, 0, 2_000, 0), [(1, 90, 0), (1, 10, 0)])
    yield case("cap follows the released budget", PayoutTerms(1_000, 1, 4, 0, 5_000), [(1, 90, 0), (1, 10, 0)])
    widest = PayoutTerms(UINT128_MAX, INT64_MAX, INT64_MAX, 0, 10_000)
    yield case("largest budget and scores", widest, [(1, INT64_MAX, 0)] * 5)
    yield case(
        "largest budget, one nano short of the target",
        PayoutTerms(UINT128_MAX, INT64_MAX - 1, INT64_MAX, 37, 2_500),
        [(1, INT64_MAX, 0), (1, INT64_MAX - 1, 1), (1, 1, 0)],
    )
    yield case(
        "largest budget against the smallest score", widest, [(1, INT64_MAX, 0), (1, 1, 9_999), (1, INT64_MIN, 0)]
    )
    yield case(
        "300 of the largest", PayoutTerms(UINT128_MAX, INT64_MAX, INT64_MAX, 10, 9_999), [(1, INT64_MAX, 0)] * 300
    )
    yield case("300 equals share 100 units", PayoutTerms(100, 1, 0, 0, 10_000), [(1, 8, 0)] * 300)
    yield case(
        "a demo round: 1,000 tokens of 18 decimals",
        PayoutTerms(10**21, 41_000_000, 50_000_000, 200, 6_000),
        [(1, 21_734_551, 0), (4, 0, 0), (1, 14_220_087, 0), (1, -3_918_222, 0), (2, 0, 0), (1, 9_004_310, 2_500)],
    )


def base_cases() -> Iterator[dict[str, object]]:
    for base_bps in (500, 2_000, 10_000):
        worthless = PayoutTerms(10**6 + 1, -5, 10**9, 0, 10_000, base_bps=base_bps)
        yield case(f"base {base_bps}: no improvement", worthless, [(1, -1, 0), (2, 9, 0), (1, 0, 0), (1, 7, 0)])
        half = PayoutTerms(10**6 + 1, 3 * 10**8, 10**9, 100, 5_000, base_bps=base_bps)
        yield case(f"base {base_bps}: cap and target bind", half, [(1, 5, 0), (1, 1, 0), (4, 0, 0)])
        yield case(f"base {base_bps}: nobody accepted", half, [(2, 5, 0), (3, 1, 0)])


def drawn_cases() -> Iterator[dict[str, object]]:
    for number in range(60):
        draw = Draw(f"payouts/{number}")
        size = (draw.between(1, 12), draw.between(13, 40))[number % 2] if number < 56 else 300
        score_limit = (20, 10**6, 10**10, INT64_MAX)[draw.below(4)]
        target = (0, draw.between(1, INT64_MAX), draw.between(1, 10**8))[draw.below(3)]
        improvement = draw.between(-target // 4, target) if target else draw.between(-(10**9), 10**9)
        terms = PayoutTerms(
            budget=draw.below((10**3, 10**9, 10**24, UINT128_MAX)[draw.below(4)]),
            improvement_nanos=improvement,
            target_nanos=target,
            floor_bps=(0, draw.below(200), draw.below(10_001))[draw.below(3)],
            cap_bps=(10_000, draw.below(10_001))[draw.below(2)],
            scored=draw.below(8) > 0,
            base_bps=(0, draw.below(10_001))[draw.below(2)],
        )
        leaves = [
            (
                (1, 1, 1, draw.below(5))[draw.below(4)],
                draw.between(-score_limit // 3, score_limit),
                (0, 0, draw.below(10_001))[draw.below(3)],
            )
            for _ in range(size)
        ]
        yield case(f"drawn {number}", terms, leaves)


def main() -> None:
    cases = [*chosen_cases(), *base_cases(), *drawn_cases()]
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in cases)
    path = Path(__file__).with_name("payouts.json")
    path.write_text(f'{{"rule":"docs/protocol.md section 5","cases":[\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
