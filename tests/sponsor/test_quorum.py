"""What a quorum means in people."""

from __future__ import annotations

import pytest

from deltaproof.protocol.terms.worth import VerificationSection
from deltaproof.sponsor.quorum import quorum_meaning


@pytest.mark.parametrize(
    ("bps", "verifiers", "away", "late", "lying"),
    [
        (6_667, 3, 0, 1, 1), (6_600, 3, 1, 1, 1), (6_600, 1, 1, 1, 1), (6_600, 10, 3, 4, 5), (10_000, 4, 0, 1, 2),
        (5_001, 4, 1, 1, 2),
    ],
)  # fmt: skip
def test_quorum_meaning_counts_equal_verifiers(bps: int, verifiers: int, away: int, late: int, lying: int) -> None:
    """A coalition that waits for the second settle phase needs a majority only, to sign as to lie."""
    meaning = quorum_meaning(bps, verifiers)
    assert (meaning.away, meaning.late, meaning.lying) == (away, late, lying)
    assert meaning.away * 10_000 <= meaning.verifiers * (10_000 - bps)


def test_default_quorum_lets_one_of_three_be_away() -> None:
    default = VerificationSection.model_fields["quorum_bps"].default
    assert quorum_meaning(default, 3).away == 1
