"""Which coalitions to ask for: pairs of complements, stratified by size, without replacement.

The size of a coalition gets evaluations in proportion to C(N, s) sqrt(sum_i c_i(S)^2), c_i being its coefficient in the
index. That allocation has the least variance for residuals that are alike in all sizes (Neyman 1934).

Games that average deltas vary more among small coalitions. So there are two departures, found on such games: a mild
tilt to small sizes, and single players (with their complements) are evaluated completely where that is affordable.
Small strata are anyway.

The inclusion probability of every coalition is known. That is what lets residuals be weighed up to the whole game
(Horvitz and Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from deltaproof.protocol.rules import AUTO_BORDER_NEED, AUTO_BORDER_PAIRS, AUTO_ENUMERATED, AUTO_START_SPAN, AUTO_WHOLE
from incentives.semivalues._index import Semivalue
from incentives.semivalues._result import Bools, BudgetError, Floats, Ints
from incentives.semivalues._stream import Stream


@dataclass(frozen=True)
class Design:
    """coalitions: bool [n, players], complements next to each other.

    probability: float64 [n], of being in the design; expected: float64 [n], how many coalitions of the same size were
    to be expected in it (probability = expected / C(N, s), but that quotient loses everything for many players).
    pairs: how many pairs there are; they follow the first two rows, coalitions without their complement come last.
    """

    coalitions: Bools
    probability: Floats
    expected: Floats
    pairs: int


def pair_design(index: Semivalue, budget: int, stream: Stream) -> Design:
    """At most `budget` distinct coalitions, none and all first. Raises BudgetError below N + 3 or 6."""
    players = index.players
    if budget < max(6, players + 3):
        raise BudgetError(f"auto needs {max(6, players + 3)} evaluations for {players} players, the budget is {budget}")
    sizes = np.arange(1, players // 2 + 1)
    strata = np.array([_pairs_of_size(players, int(size)) for size in sizes], dtype=np.float64)
    wanted = _with_border(_spread(index, sizes) / np.sqrt(np.sqrt(sizes)), strata, (budget - 2) // 2)
    start = AUTO_START_SPAN * float(stream.uniforms(1)[0])  # never one above the total
    counts = systematic(wanted, strata, wanted == strata, start)
    coalitions = [np.zeros((1, players), dtype=np.bool_), np.ones((1, players), dtype=np.bool_)]
    for size, count in zip(sizes, counts, strict=True):
        half = distinct(int(size), int(count), players, stream)
        coalitions.append(np.stack([half, ~half], axis=1).reshape(-1, players))
    rows = np.concatenate([[2], 2 * counts])
    probability = np.concatenate([[1.0], wanted / strata])
    expected = np.concatenate([[1.0], wanted * np.where(2 * sizes == players, 2.0, 1.0)])
    return Design(
        np.concatenate(coalitions), np.repeat(probability, rows), np.repeat(expected, rows), int(counts.sum())
    )


def _pairs_of_size(players: int, size: int) -> int:
    return comb(players, size) // (2 if 2 * size == players else 1)


def mass(index: Semivalue) -> tuple[Floats, Floats]:
    """C(N, s) times the coefficient of v(S) in phi_i, for members and for outsiders: float64 [players + 1] each.

    Kept as a product because C(N, s) and its inverse leave the range of floats long before their product does.
    """
    sizes = np.arange(index.players + 1)
    member = np.concatenate([[0.0], index.size_share]) * index.players / np.maximum(sizes, 1)
    outsider = np.concatenate([index.size_share, [0.0]]) * index.players / np.maximum(index.players - sizes, 1)
    return member, outsider


def _spread(index: Semivalue, sizes: Ints) -> Floats:
    """sqrt(sum_i c_i(S)^2) summed over a stratum of pairs, up to a factor common to all strata."""
    square = importance_by_size(index) ** 2
    # At half size S and its complement share the stratum: half as many pairs.
    return np.sqrt(square[sizes] + square[index.players - sizes]) * np.where(2 * sizes == index.players, 0.5, 1.0)


def importance_by_size(index: Semivalue) -> Floats:
    """C(N, s) sqrt(sum_i c_i(S)^2): float64 [players + 1]."""
    member, outsider = mass(index)
    every = np.arange(index.players + 1)
    return np.asarray(np.sqrt(every * member**2 + (index.players - every) * outsider**2))


def _with_border(weight: Floats, strata: Floats, pairs: int) -> Floats:
    wanted = _allocate(weight, strata, pairs)
    if strata[0] > AUTO_BORDER_PAIRS * pairs or not AUTO_BORDER_NEED * strata[0] <= wanted[0] < strata[0]:
        return wanted
    inner = _allocate(np.concatenate([[0.0], weight[1:]]), strata, pairs - int(strata[0]))
    return np.concatenate([strata[:1], inner[1:]])


def _allocate(weight: Floats, strata: Floats, pairs: int) -> Floats:
    """Pairs per stratum in proportion to weight, none above the stratum's size: float64, adds up to at most `pairs`."""
    wanted = np.zeros(len(weight))
    open_ = weight > 0
    # Each round fills at least one stratum, so there are no more rounds than strata.
    for _ in range(len(weight)):
        left = pairs - wanted[~open_].sum()
        share = np.where(open_, weight, 0.0)
        wanted = np.where(open_, left * share / share.sum(), wanted)
        over = open_ & (wanted >= strata)
        if not over.any():
            break
        wanted[over] = strata[over]
        open_ &= ~over
        if not open_.any():
            break
    return wanted


def systematic(wanted: Floats, most: Floats, whole: Bools, start: float) -> Ints:
    """Whole numbers with the expectations `wanted`, and `most` where `whole`: systematic sampling of the running total
    from a random start."""
    running = start + np.concatenate([[0.0], np.cumsum(np.where(whole, 0.0, wanted))])
    return np.where(whole, most, np.minimum(np.diff(np.floor(running + AUTO_WHOLE)), most)).astype(np.int64)


def distinct(size: int, count: int, players: int, stream: Stream, seen: Set[bytes] | None = None) -> Bools:
    """`count` different coalitions of a size.

    seen: bytes of those of this size that are not wanted; if None, no two are complements of each other.
    """
    half = 2 * size == players and seen is None
    population = comb(players, size)
    if population <= max(AUTO_ENUMERATED, 4 * (count + len(seen or ()))):
        everything = _all_of_size(size, players)
        if half:
            everything = everything[: len(everything) // 2]
        if seen:
            everything = everything[[row.tobytes() not in seen for row in everything]]
        chosen = everything[stream.permutations(1, len(everything))[0][:count]]
        flip = stream.words(count) >> np.uint64(63) == 1
        return np.asarray(np.where(flip[:, None] & half, ~chosen, chosen))
    found: dict[bytes, Bools] = {}
    while len(found) < count:  # at most a quarter of the stratum is wanted, so every draw is new with chance >= 3/4
        for row in stream.coalitions(np.full(count, size), players):
            key = (~row if half and row[0] else row).tobytes()
            if len(found) < count and not (seen and key in seen):
                found.setdefault(key, row)
    return np.array(list(found.values()), dtype=np.bool_).reshape(count, players)


@lru_cache(maxsize=256)
def _all_of_size(size: int, players: int) -> Bools:
    """Every coalition of a size, in lexicographic order."""
    rows = np.zeros((1, 0), dtype=np.bool_)
    for player in range(players):
        taken = rows.sum(axis=1)
        without = rows[taken + players - player - 1 >= size]
        with_ = rows[taken < size]
        rows = np.vstack([np.insert(without, player, False, axis=1), np.insert(with_, player, True, axis=1)])
    rows.flags.writeable = False
    return rows
