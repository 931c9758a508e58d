"""Estimators that average coalitions or marginal contributions per player and size.

stratified   Maleki et al. 2013: marginal contributions of each player to coalitions of each size, equally many of each.
svarm        Kolpaczki et al. 2024, Stratified SVARM: one coalition updates the mean of v(S) for every member's and
             every outsider's stratum of its size; the four border sizes are evaluated completely.
Both use the sum of stratum means, so the error is the root of summed stratum variances over their counts. A stratum
seen once borrows the variance pooled over its player.
"""

from __future__ import annotations

from math import comb

import numpy as np

from deltaproof.protocol.rules import SVARM_ROUNDS
from incentives.semivalues._index import Semivalue
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._result import Bools, BudgetError, Estimate, Floats
from incentives.semivalues._stream import Stream


def stratified(oracle: Oracle, index: Semivalue, stream: Stream) -> Estimate:
    """Marginal contributions in rounds: each round one coalition per (player, size), while the budget lasts."""
    players = oracle.players
    sizes = np.flatnonzero(index.size_share > 0)
    tables: list[Floats] = []  # each round [players, sizes]
    while True:
        without = np.concatenate([_without(player, sizes, players, stream) for player in range(players)])
        player = np.repeat(np.arange(players), len(sizes))
        joined = without.copy()
        joined[np.arange(len(player)), player] = True
        pairs = np.stack([without, joined], axis=1).reshape(-1, players)
        affordable = oracle.affordable_prefix(pairs, len(pairs))
        if not affordable or len(tables) >= oracle.budget:
            break
        values = oracle.ask(pairs).reshape(players, len(sizes), 2)
        tables.append(values[:, :, 1] - values[:, :, 0])
    if len(tables) < 2:
        raise BudgetError(
            f"stratified needs two rounds of {2 * players * len(sizes)} evaluations, the budget is {oracle.budget}"
        )
    rounds = np.stack(tables)
    share = index.size_share[sizes]
    variance = rounds.var(axis=0, ddof=1) / len(rounds)
    return Estimate(
        (rounds.mean(axis=0) * share).sum(axis=1),
        np.sqrt((variance * share**2).sum(axis=1)),
        oracle.evaluations,
        "stratified",
        {"rounds": len(rounds)},
    )


def _without(player: int, sizes: np.ndarray, players: int, stream: Stream) -> Bools:
    others = stream.coalitions(sizes, players - 1)
    return np.insert(others, player, False, axis=1)


def svarm(oracle: Oracle, index: Semivalue, stream: Stream) -> Estimate:
    """Stratified SVARM."""
    players = oracle.players
    border = border_coalitions(players)  # every marginal of sizes 0 and N - 1 needs these, so sampling them would waste
    if oracle.budget < len(border) + 2:
        raise BudgetError(
            f"svarm needs {len(border) + 2} evaluations for {players} players, the budget is {oracle.budget}"
        )
    oracle.ask(border)
    inner = np.arange(2, players - 1)
    if len(inner):
        _sample_inner(oracle, index, stream, inner)
    return _svarm_result(oracle, index)


def _sample_inner(oracle: Oracle, index: Semivalue, stream: Stream, inner: np.ndarray) -> None:
    """Spend the budget on distinct coalitions whose size is drawn in proportion to its weight in the index."""
    weight = index.size_share[inner - 1] + index.size_share[inner]
    for _ in range(SVARM_ROUNDS):  # bounded: what is drawn again is not new
        if oracle.left == 0:
            return
        drawn = stream.coalitions(inner[stream.choices(weight, oracle.left)], oracle.players)
        oracle.ask(drawn[: oracle.affordable_prefix(drawn, 1)])


def _svarm_result(oracle: Oracle, index: Semivalue) -> Estimate:
    players, values, coalitions = oracle.players, oracle.values, oracle.coalitions
    sizes = coalitions.sum(axis=1)
    total, variance = np.zeros(players), np.zeros(players)
    borrowed = 0
    for size in range(players + 1):
        here = sizes == size
        for inside in (True, False):
            if not 0 <= size - inside < players:
                continue
            share = index.size_share[size - inside]
            population = comb(players - 1, size - inside)
            member = coalitions[here] == inside
            means, errors, missing = _means(member, values[here], population, fallback=float(values.mean()))
            total += (share if inside else -share) * means
            variance += (share * errors) ** 2
            borrowed += missing
    return Estimate(total, np.sqrt(variance), oracle.evaluations, "svarm", {"borrowed_strata": borrowed})


def _means(member: Bools, values: Floats, population: int, fallback: float) -> tuple[Floats, Floats, int]:
    """Mean of `values` and its error over each player's rows, float64 [players] twice, and how many had to be borrowed.

    A player without rows gets the mean of the whole size; errors carry the finite-population correction.
    """
    count = member.sum(axis=0)
    sums = np.where(member, values[:, None], 0.0).sum(axis=0)
    mean = np.divide(sums, count, out=np.full(len(count), values.mean() if len(values) else fallback), where=count > 0)
    squares = np.where(member, (values[:, None] - mean) ** 2, 0.0).sum(axis=0)
    freedom = max(1, int((count - 1).clip(0).sum()))
    pooled = squares.sum() / freedom
    spread = np.where(count > 1, squares / np.maximum(count - 1, 1), pooled)
    error = np.sqrt(spread / np.maximum(count, 1) * (1 - np.minimum(count / population, 1)))
    return mean, error, int((count == 0).sum())


def border_coalitions(players: int) -> Bools:
    """Sizes 0, 1, N-1 and N, each coalition once."""
    single = np.eye(players, dtype=np.bool_)
    rows = np.vstack([np.zeros((1, players), dtype=np.bool_), single, ~single, np.ones((1, players), dtype=np.bool_)])
    return np.asarray(np.unique(rows, axis=0)) if players <= 2 else rows
