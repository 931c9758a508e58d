"""Who replays whom: for each trainer a committee of verifiers, drawn by stake from the challenge seed.

Members are drawn one after the other without replacement, each with a chance in proportion to its stake among those
who are left (successive sampling). The seed is known when reveals are over, and the quorum is fixed when the round
opens: no trainer chooses who looks at it, and no verifier whom it looks at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from fractions import Fraction
from itertools import accumulate
from math import comb

from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.rules import COMMITTEE_STAKE_BITS
from deltaproof.protocol.types import Address, Digest32, RoundIndex, TaskId, address_bytes

__all__ = ["capture_probability", "draw_committee", "drawn_share"]

_DOMAIN = b"deltaproof/committee/v1\x00"


def draw_committee(
    challenge_seed: Digest32,
    task_id: TaskId,
    round_index: RoundIndex,
    trainer: Address,
    stakes: Mapping[Address, int],
    size: int,
) -> tuple[Address, ...]:
    """The verifiers who replay `trainer`, by ascending address; all of `stakes` if there are no more than `size`.

    `stakes` are those of the round's quorum. Raises ValueError for no positive size, or a stake that is not positive.
    """
    if size < 1 or any(stake < 1 for stake in stakes.values()):
        raise ValueError("a committee has a member, and each verifier a stake")
    left = sorted(stakes, key=address_bytes)
    if len(left) <= size:
        return tuple(left)
    shift = max(sum(stakes.values()).bit_length() - COMMITTEE_STAKE_BITS, 0)
    weights = [max(stakes[verifier] >> shift, 1) for verifier in left]
    stream = HashStream.of_trainer(_DOMAIN, challenge_seed, task_id, round_index, trainer)
    drawn = []
    for _ in range(size):
        sums = list(accumulate(weights))
        place = bisect_right(sums, stream.below(sums[-1]))
        drawn.append(left.pop(place))
        weights.pop(place)
    return tuple(sorted(drawn, key=address_bytes))


def drawn_share(stakes: Mapping[Address, int], verifier: Address, size: int, draws: int = 256) -> Fraction:
    """Share of a round's committees that a verifier is a member of, by drawing so many.

    Raises ValueError as `draw_committee` does.
    """
    seeds = (Digest32(number.to_bytes(32, "big")) for number in range(draws))
    nobody = Address("0x" + "0" * 40)
    drawn = (draw_committee(seed, TaskId(0), RoundIndex(0), nobody, stakes, size) for seed in seeds)
    return Fraction(sum(verifier in members for members in drawn), draws)


def capture_probability(verifiers: int, colluding: int, size: int) -> Fraction:
    """Chance that a whole committee is among the colluding ones of so many verifiers with equal stakes.

    Only then may others take over a wrong word (`protocol.outcome.reports`); 0 where everybody replays everybody, as a
    minority decides nothing there. Raises ValueError for fewer verifiers than colluding ones, or a negative size.
    """
    if not 0 <= colluding <= verifiers or size < 0:
        raise ValueError("0 <= colluding <= verifiers and 0 <= size")
    if not 0 < size < verifiers:
        return Fraction(0)
    return Fraction(comb(colluding, size), comb(verifiers, size))
