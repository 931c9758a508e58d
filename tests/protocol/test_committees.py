"""Who is drawn for a trainer: by stake, from the seed, the same for everybody; and when a committee's word counts."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from hashlib import sha256
from itertools import combinations

import pytest

from deltaproof.protocol.draws.committees import capture_probability, draw_committee, drawn_share
from deltaproof.protocol.outcome.reads import given_up_from
from deltaproof.protocol.outcome.reports import COMMITTEE, reports_until, sealed_until, word_of
from deltaproof.protocol.outcome.settlement import Verdict
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address

TASK, ROUND = TaskId(7), RoundIndex(3)
TRAINER = address(b"\x77" * 20)


def people(count: int) -> list[Address]:
    return [address(n.to_bytes(20, "big")) for n in range(1, count + 1)]


def seed(number: int) -> Digest32:
    return Digest32(number.to_bytes(32, "big"))


def drawn(number: int, stakes: dict[Address, int], size: int) -> tuple[Address, ...]:
    return draw_committee(seed(number), TASK, ROUND, TRAINER, stakes, size)


def test_a_committee_is_the_same_for_everybody_whatever_the_order_of_the_stakes() -> None:
    stakes = {verifier: 100 + n for n, verifier in enumerate(people(9))}
    backwards = dict(reversed(list(stakes.items())))
    found = drawn(1, stakes, 4)
    assert found == drawn(1, backwards, 4) == tuple(sorted(found, key=str.lower))
    assert len(set(found)) == 4
    assert any(drawn(number, stakes, 4) != found for number in range(2, 6))
    other = draw_committee(seed(1), TASK, ROUND, address(b"\x78" * 20), stakes, 4)
    assert other != found or draw_committee(seed(2), TASK, ROUND, address(b"\x78" * 20), stakes, 4) != drawn(
        2, stakes, 4
    )


def test_a_committee_was_drawn_as_the_page_says() -> None:
    """The rule of docs/protocol/rounds.md, written once more."""
    stakes = {verifier: 10**20 * (n + 1) for n, verifier in enumerate(people(6))}
    shift = max(sum(stakes.values()).bit_length() - 62, 0)
    left, words = [(v, max(s >> shift, 1)) for v, s in stakes.items()], []
    prefix = b"deltaproof/committee/v1\x00" + seed(5) + (7).to_bytes(8, "big") + (3).to_bytes(4, "big") + b"\x77" * 20
    for counter in range(4):
        digest = sha256(prefix + counter.to_bytes(4, "big")).digest()
        words += [int.from_bytes(digest[i : i + 8], "big") for i in range(0, 32, 8)]
    chosen = []
    while len(chosen) < 3:
        total, word = sum(weight for _, weight in left), words.pop(0)
        if word >= 2**64 - 2**64 % total:
            continue
        place = word % total
        for entry in left:
            if place < entry[1]:
                chosen.append(entry[0])
                left.remove(entry)
                break
            place -= entry[1]
    assert drawn(5, stakes, 3) == tuple(sorted(chosen))


def test_stake_decides_how_often_somebody_is_drawn_and_dust_hardly_ever() -> None:
    stakes = dict(zip(people(4), (10**24, 2 * 10**24, 3 * 10**24, 1), strict=True))
    counts = Counter(verifier for number in range(3_000) for verifier in drawn(number, stakes, 1))
    shares = [counts[verifier] / 3_000 for verifier in people(4)]
    assert shares == pytest.approx([1 / 6, 1 / 3, 1 / 2, 0.0], abs=0.04)


def test_who_has_most_of_the_stake_is_drawn_for_nearly_everybody() -> None:
    first, *others = people(10)
    assert float(drawn_share(dict.fromkeys([first, *others], 100), first, 2)) == pytest.approx(0.2, abs=0.08)
    whale = {first: 900, **dict.fromkeys(others, 100)}
    assert float(drawn_share(whale, first, 2)) == pytest.approx(0.5 + 0.5 * 900 / 1_700, abs=0.08)


def test_few_verifiers_are_all_drawn_and_nonsense_is_refused() -> None:
    stakes = dict.fromkeys(people(3), 5)
    assert drawn(1, stakes, 3) == drawn(1, stakes, 64) == tuple(people(3))
    with pytest.raises(ValueError, match="a committee has a member"):
        drawn(1, stakes, 0)
    with pytest.raises(ValueError, match="each verifier a stake"):
        drawn(1, {**stakes, people(4)[3]: 0}, 2)


def test_capture_is_what_counting_gives() -> None:
    for verifiers, colluding, size in ((6, 2, 2), (7, 3, 2), (8, 3, 3), (8, 2, 3)):
        every = list(combinations(range(verifiers), size))
        owned = sum(all(member < colluding for member in one) for one in every)
        assert capture_probability(verifiers, colluding, size) == Fraction(owned, len(every))
    assert capture_probability(5, 4, 0) == capture_probability(5, 4, 5) == 0, "everybody replays everybody"


ACCEPTED, REJECTED, WITHHELD = Verdict.ACCEPTED, Verdict.REJECTED, Verdict.WITHHELD


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ((ACCEPTED, ACCEPTED, ACCEPTED), True),
        ((ACCEPTED, ACCEPTED, None), True),
        ((ACCEPTED, None, None), False),
        ((None, None, None), False),
        ((ACCEPTED, ACCEPTED, REJECTED), False),
        ((ACCEPTED, ACCEPTED, WITHHELD), False),
        ((REJECTED, REJECTED, REJECTED), False),
        ((WITHHELD, WITHHELD, WITHHELD), False),
    ],
)
def test_only_acceptance_that_nobody_contradicts_is_taken_over(said: tuple[Verdict | None, ...], counts: bool) -> None:
    stakes = dict.fromkeys(people(3), 100)
    word = word_of(stakes, {v: verdict for v, verdict in zip(people(3), said, strict=True) if verdict is not None})
    assert (word is not None) == counts
    assert word is None or (word.check == COMMITTEE and word.passed)


def test_one_member_is_not_enough_however_much_it_weighs() -> None:
    stakes = dict(zip(people(3), (10**6, 1, 1), strict=True))
    assert word_of(stakes, {people(3)[0]: ACCEPTED}) is None
    assert word_of(stakes, {people(3)[1]: ACCEPTED, people(3)[2]: ACCEPTED}) is None


@pytest.mark.parametrize("seconds", [6, 60, 600, 86_400])
def test_reports_are_sealed_before_they_are_shown_and_time_is_left(seconds: int) -> None:
    deadline = 10**9
    given_up, sealed, shown = (f(deadline, seconds) for f in (given_up_from, sealed_until, reports_until))
    assert given_up <= sealed <= shown < deadline
    assert deadline - shown >= (deadline - given_up) // 2
