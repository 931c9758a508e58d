"""The payout rule: an independent rational-number oracle, the shared vectors, and the stated properties."""

import json
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.rules import BPS
from incentives.payouts import PayoutEntry, PayoutError, Payouts, PayoutTerms, compute_payouts

VECTORS = Path(__file__).parents[1] / "vectors" / "payouts.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]

amounts = st.one_of(st.integers(0, 1_000), st.integers(0, 2**128 - 1))
scores = st.one_of(st.integers(-5, 20), st.integers(-(2**63), 2**63 - 1))
bps = st.one_of(st.sampled_from([0, 1, 5_000, 9_999, 10_000]), st.integers(0, BPS))
entries_of_any_kind = st.builds(PayoutEntry, st.booleans(), scores, bps)
terms_of_any_kind = st.builds(
    PayoutTerms, amounts, scores, st.one_of(st.integers(0, 20), st.integers(0, 2**63 - 1)), bps, bps, st.booleans(), bps
)


def rational_payouts(terms: PayoutTerms, entries: list[PayoutEntry]) -> list[int]:
    """The rule read off the specification once more, in rational numbers, giving units out one at a time."""
    released = terms.budget
    if terms.scored and terms.target_nanos > 0:
        progress = min(max(Fraction(terms.improvement_nanos, terms.target_nanos), Fraction(0)), Fraction(1))
        released = floor(terms.budget * progress)
    earning = [i for i, entry in enumerate(entries) if entry.accepted and entry.discount_bps < BPS]
    each = floor(Fraction(released * terms.floor_bps, BPS))
    if each * len(earning) > released:
        each = floor(Fraction(released, len(earning)))
    pool = released - each * len(earning)
    weights = [Fraction(0)] * len(entries)
    for i in earning:
        kept = 1 - Fraction(entries[i].discount_bps, BPS)
        weights[i] = max(entries[i].score_nanos, 0) * kept if terms.scored else Fraction(1)
    shares = [0] * len(entries)
    if sum(weights) > 0:
        exact = [pool * weight / sum(weights) for weight in weights]
        shares = [floor(share) for share in exact]
        lacking = [share - floor(share) for share in exact]
        while sum(shares) < pool:
            winner = max(range(len(entries)), key=lambda i: (lacking[i], -i))
            shares[winner] += 1
            lacking[winner] = Fraction(-1)
    cap = floor(Fraction(released * terms.cap_bps, BPS))
    paid = [min(share + (each if i in earning else 0), cap) for i, share in enumerate(shares)]
    missing = floor(Fraction(terms.budget * terms.base_bps, BPS)) - sum(paid)
    for i in earning if missing > 0 else ():
        paid[i] += floor(Fraction(missing, len(earning)))
    return paid


def read_case(case: dict[str, Any]) -> tuple[PayoutTerms, list[PayoutEntry]]:
    numbers = (int(case["budget"]), int(case["improvementNanos"]), int(case["targetNanos"]))
    terms = PayoutTerms(*numbers, case["floorBps"], case["capBps"], case["scored"], case["baseBps"])
    columns = zip(case["verdicts"], case["scoreNanos"], case["discountBps"], strict=True)
    return terms, [PayoutEntry(verdict == 1, int(score), discount) for verdict, score, discount in columns]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_compute_payouts_shared_vector_agrees(case: dict[str, Any]) -> None:
    terms, entries = read_case(case)
    result = compute_payouts(terms, entries)
    assert [str(amount) for amount in result.amounts] == case["payouts"]
    assert str(result.total) == case["totalPayout"]
    stages = (result.released, result.floor_each, result.pool, result.total_weight, result.cap, result.top_up)
    names = ("released", "floorEach", "pool", "totalWeight", "cap", "topUp")
    assert [str(stage) for stage in stages] == [case[name] for name in names]
    assert str(result.threshold) == case["threshold"]
    assert list(result.amounts) == rational_payouts(terms, entries)


def test_vectors_cover_what_they_promise() -> None:
    assert len(CASES) >= 100
    assert max(len(case["verdicts"]) for case in CASES) == 300
    assert any(int(case["budget"]) == 2**128 - 1 for case in CASES)
    assert any(not case["scored"] for case in CASES)
    assert {code for case in CASES for code in case["verdicts"]} == {0, 1, 2, 3, 4}


def test_compute_payouts_by_hand() -> None:
    # 1000 released; floors 2 x 50; pool 900 over weights 30 : 10 * 0.5 = 6 : 1 -> 771.43, 128.57 -> 771, 129.
    terms = PayoutTerms(budget=2_000, improvement_nanos=5, target_nanos=10, floor_bps=500, cap_bps=8_000, scored=True)
    entries = [PayoutEntry(True, 30), PayoutEntry(False, 99), PayoutEntry(True, 10, 5_000)]
    result = compute_payouts(terms, entries)
    assert result.amounts == (800, 0, 179)  # 821 is capped at 80 % of 1000
    assert result.returned == 2_000 - 979
    assert result.lines[2].unit == 1


@given(terms_of_any_kind, st.lists(entries_of_any_kind, max_size=40))
def test_compute_payouts_agrees_with_rational_oracle(terms: PayoutTerms, entries: list[PayoutEntry]) -> None:
    assert list(compute_payouts(terms, entries).amounts) == rational_payouts(terms, entries)


@given(terms_of_any_kind, st.lists(entries_of_any_kind, max_size=40))
def test_compute_payouts_never_over_budget_and_exact(terms: PayoutTerms, entries: list[PayoutEntry]) -> None:
    result = compute_payouts(terms, entries)
    assert 0 <= result.total <= max(result.released, terms.base) <= terms.budget
    assert result.total + result.returned == terms.budget
    assert all(0 <= line.payout - line.top_up <= result.cap for line in result.lines)
    assert all(line.payout == 0 for line, entry in zip(result.lines, entries, strict=True) if not entry.earns)
    if result.total_weight and max(line.floor + line.quotient + line.unit for line in result.lines) <= result.cap:
        assert result.total - sum(line.top_up for line in result.lines) == result.released
    if earning := sum(entry.earns for entry in entries):
        assert result.total > terms.base - earning


@given(terms_of_any_kind, st.lists(entries_of_any_kind, min_size=1, max_size=20), st.data())
def test_compute_payouts_own_score_rises_pay_never_falls(
    terms: PayoutTerms, entries: list[PayoutEntry], data: st.DataObject
) -> None:
    i = data.draw(st.integers(0, len(entries) - 1))
    better = PayoutEntry(
        entries[i].accepted, data.draw(st.integers(entries[i].score_nanos, 2**63 - 1)), entries[i].discount_bps
    )
    before = compute_payouts(terms, entries).amounts
    after = compute_payouts(terms, [*entries[:i], better, *entries[i + 1 :]]).amounts
    assert after[i] >= before[i]
    assert all(after[j] <= before[j] + 1 for j in range(len(entries)) if j != i)


@given(terms_of_any_kind, st.lists(entries_of_any_kind, min_size=1, max_size=20), st.data())
def test_compute_payouts_order_matters_only_among_ties(
    terms: PayoutTerms, entries: list[PayoutEntry], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(entries))))
    before = compute_payouts(terms, entries)
    after = compute_payouts(terms, [entries[i] for i in order])
    tied = {line.remainder for line in before.lines if sum(o.remainder == line.remainder for o in before.lines) > 1}
    for position, i in enumerate(order):
        slack = 1 if before.lines[i].remainder in tied else 0
        assert abs(after.lines[position].payout - before.lines[i].payout) <= slack
    if before.cap == before.released:
        assert after.total == before.total


@given(terms_of_any_kind, st.lists(entries_of_any_kind, max_size=20), st.integers(-(2**63), 0), st.booleans())
def test_compute_payouts_worthless_newcomer_takes_floor_at_most(
    terms: PayoutTerms, entries: list[PayoutEntry], score: int, accepted: bool
) -> None:
    result = compute_payouts(terms, [*entries, PayoutEntry(accepted, score)])
    if terms.scored:
        assert result.amounts[-1] <= (result.floor_each + result.top_up if accepted else 0)


@pytest.mark.parametrize("parts", [2, 3, 10])
def test_compute_payouts_split_score_earns_the_same_without_floor(parts: int) -> None:
    """A score cut into k pieces earns what one piece would, give or take k units of rounding."""

    def total_of(own: list[int]) -> tuple[Payouts, int]:
        entries = [PayoutEntry(True, score) for score in [7_000_003, 2_000_011, *own]]
        result = compute_payouts(PayoutTerms(10**18, 1, 0, 0, BPS), entries)
        return result, sum(result.amounts[2:])

    whole = 5_000_400
    _, alone = total_of([whole])
    _, split = total_of([whole // parts] * parts)
    assert split <= alone + parts


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget", -1),
        ("budget", 2**128),
        ("improvement_nanos", 2**63),
        ("target_nanos", -1),
        ("floor_bps", 10_001),
        ("cap_bps", -1),
        ("base_bps", 10_001),
    ],
)
def test_payout_terms_out_of_range_refused(field: str, value: int) -> None:
    values = {"budget": 1, "improvement_nanos": 1, "target_nanos": 1, "floor_bps": 0, "cap_bps": 0, field: value}
    with pytest.raises(PayoutError, match=f"{field} = {value} is outside"):
        PayoutTerms(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("score", "discount"), [(2**63, 0), (-(2**63) - 1, 0), (0, -1), (0, 10_001)])
def test_payout_entry_out_of_range_refused(score: int, discount: int) -> None:
    with pytest.raises(PayoutError, match="is outside"):
        PayoutEntry(True, score, discount)
