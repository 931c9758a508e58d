"""Where the rest of the budget goes, once a first fit has shown where the game is rough.

Averaged models vary most among small coalitions, votes near their quota, teams among large coalitions: left-out
residuals of the first part of the design say which. The rest is drawn per size, without replacement and without
complements, in proportion to C(N, s) sqrt(sum_i c_i(S)^2 r_s^2), r_s being the residuals' root mean square among
coalitions of about s members (Neyman 1934), the first part counted in.
"""

from __future__ import annotations

from math import comb

import numpy as np

from deltaproof.protocol.rules import AUTO_REACH, AUTO_ROUGHNESS_BITS, AUTO_START_SPAN
from incentives.semivalues._design import Design, distinct, importance_by_size, systematic
from incentives.semivalues._index import Semivalue
from incentives.semivalues._result import Floats, Ints
from incentives.semivalues._stream import Stream


def refined(
    first: Design, index: Semivalue, budget: int, rows: Ints, left_out: Floats, least: float, stream: Stream
) -> Design:
    """`first` and more coalitions behind it, `budget` in all.

    rows: int64 [m], some of the rows of `first`; left_out: float64 [m], residuals there; least: positive, residuals
    below it are rounding and count as this.
    """
    players = index.players
    sizes = first.coalitions.sum(axis=1)
    population = np.array([float(comb(players, size)) for size in range(players + 1)])
    drawn = np.bincount(sizes, minlength=players + 1).astype(np.float64)
    rough = _rounded(_roughness(sizes[rows], np.maximum(np.abs(left_out), least), players))
    weight = importance_by_size(index) * np.sqrt(rough)
    wanted = _topped_up(weight, drawn, population, budget - len(sizes))
    start = AUTO_START_SPAN * float(stream.uniforms(1)[0])
    counts = systematic(wanted - drawn, population - drawn, wanted >= population, start)
    parts = [first.coalitions]
    for size in np.flatnonzero(counts):
        seen = {row.tobytes() for row in first.coalitions[sizes == size]}
        parts.append(distinct(int(size), int(counts[size]), players, stream, seen))
    coalitions = np.concatenate(parts)
    sizes = coalitions.sum(axis=1)
    return Design(coalitions, wanted[sizes] / population[sizes], wanted[sizes], first.pairs)


def _roughness(sizes: Ints, left_out: Floats, players: int) -> Floats:
    """Mean square of residuals near each size, float64 [players + 1]."""
    squares = np.bincount(sizes, weights=left_out**2, minlength=players + 1)
    counts = np.bincount(sizes, minlength=players + 1)
    apart = np.subtract.outer(np.arange(players + 1), np.arange(players + 1)) / max(1.0, AUTO_REACH * players)
    near = 1.0 / (1.0 + apart**2) ** 2
    return np.asarray((near * squares).sum(axis=1) / (near * counts).sum(axis=1))


def _rounded(values: Floats) -> Floats:
    """Shares of the largest, in eight bits: a machine's last bits and the game's unit stay out of probabilities."""
    mantissa, exponent = np.frexp(values / values.max())
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, AUTO_ROUGHNESS_BITS)), exponent - AUTO_ROUGHNESS_BITS))


def _topped_up(weight: Floats, drawn: Floats, population: Floats, more: int) -> Floats:
    """max(drawn, min(population, c weight)) with c such that at most `more` are added: float64 [players + 1]."""
    low, high = 0.0, 1.0
    while _added(high * weight, drawn, population) < more and high < 1e300:
        high *= 2.0
    for _ in range(60):  # halving: more digits than a float64 has
        middle = (low + high) / 2.0
        if _added(middle * weight, drawn, population) <= more:
            low = middle
        else:
            high = middle
    return np.maximum(drawn, np.minimum(population, low * weight))


def _added(target: Floats, drawn: Floats, population: Floats) -> float:
    return float(np.maximum(0.0, np.minimum(population, target) - drawn).sum())
