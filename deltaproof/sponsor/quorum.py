"""What a quorum means in people: how many verifiers may be away, and how many may lie."""

from __future__ import annotations

from dataclasses import dataclass

from deltaproof.protocol.rules import BPS, MAJORITY_BPS

__all__ = ["QuorumMeaning", "quorum_meaning"]

SHOWN_VERIFIERS = 3
"""Where a task asks for fewer: nobody sees much in one or two."""


@dataclass(frozen=True, slots=True)
class QuorumMeaning:
    """Of `verifiers` with equal stakes."""

    verifiers: int
    away: int
    """May be away without a round waiting for them."""
    late: int
    """May be away without a round being lost: the second settle phase asks for a majority only."""
    lying: int
    """May lie together without signing a wrong settlement."""

    def __str__(self) -> str:
        delayed = f" ({self.late} with a second settle phase)" if self.late > self.away else ""
        return (
            f"of {self.verifiers} verifiers with equal stakes {self.away} may be away{delayed}, and {self.lying} may "
            f"lie: {self.lying + 1} together could sign a wrong settlement, {self.late + 1} could keep every round at "
            "its base"
        )


def quorum_meaning(quorum_bps: int, min_verifiers: int) -> QuorumMeaning:
    """For as many verifiers as the task needs, three at least."""
    verifiers = max(SHOWN_VERIFIERS, min_verifiers)
    needed, majority = (-(-verifiers * bps // BPS) for bps in (quorum_bps, MAJORITY_BPS))
    return QuorumMeaning(verifiers, verifiers - needed, verifiers - majority, majority - 1)
