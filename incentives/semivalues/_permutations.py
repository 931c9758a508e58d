"""Estimators that walk along permutations and average marginal contributions.

permutation   Castro, Gomez and Tejada 2009: uniform permutations.
antithetic    Mitchell et al. 2022: each permutation with its reverse; the error is taken over pairs.
truncated     Ghorbani and Zou 2019: the walk stops once v(prefix) is within a tolerance of v(all).
gtg           Liu et al. 2022, guided truncation gradient: every player leads equally many permutations, truncation
              within a round, and none at all if the whole round changed less than the tolerance.
Truncation is a bias that no standard error shows; `diagnostics["tolerance"]` bounds it per player.

For other semivalues a marginal at position s counts N C(N-1, s) p(s) times (importance weight of the uniform position).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaproof.protocol.rules import TRUNCATION, WALKS_PER_EVALUATION
from incentives.semivalues._index import Semivalue
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._result import Bools, BudgetError, Estimate, Floats, Ints
from incentives.semivalues._stream import Stream


@dataclass(frozen=True)
class _Walks:
    contributions: Floats  # [units, players], a unit is a walk or an antithetic pair
    shortest: int


def permutation(oracle: Oracle, index: Semivalue, stream: Stream) -> Estimate:
    """Plain permutation sampling."""
    return _estimate("permutation", oracle, index, _full_walks(oracle, index, stream, antithetic=False))


def antithetic(oracle: Oracle, index: Semivalue, stream: Stream) -> Estimate:
    """Permutations with their reverses."""
    return _estimate("antithetic", oracle, index, _full_walks(oracle, index, stream, antithetic=True))


def truncated(oracle: Oracle, index: Semivalue, stream: Stream) -> Estimate:
    """Permutations cut where the rest hardly matters."""
    return _truncated_walks("truncated", oracle, index, stream, guided=False)


def gtg(oracle: Oracle, index: Semivalue, stream: Stream) -> Estimate:
    """Guided and truncated permutations."""
    return _truncated_walks("gtg", oracle, index, stream, guided=True)


def _full_walks(oracle: Oracle, index: Semivalue, stream: Stream, *, antithetic: bool) -> _Walks:
    players = oracle.players
    walks_per_unit = 2 if antithetic else 1
    units: list[Floats] = []
    for _ in range(WALKS_PER_EVALUATION):
        # As many walks as the rest of the budget could pay for if none of their coalitions came from memory.
        count = max(1, oracle.left // (walks_per_unit * max(1, players - 1)))
        orders = stream.permutations(count, players)
        if antithetic:
            orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, players)
        prefixes = _prefixes(orders)
        unit = walks_per_unit * (players + 1)
        affordable = oracle.affordable_prefix(prefixes, unit)
        if affordable:
            values = oracle.ask(prefixes[: affordable * unit]).reshape(-1, players + 1)
            gains = _by_player(np.diff(values, axis=1), orders[: len(values)], index)
            units.append(gains.reshape(affordable, walks_per_unit, players).mean(axis=1))
        if affordable < count:
            break
    return _Walks(np.concatenate(units) if units else np.zeros((0, players)), players)


def _truncated_walks(method: str, oracle: Oracle, index: Semivalue, stream: Stream, *, guided: bool) -> Estimate:
    players = oracle.players
    none, everyone = oracle.ask(np.array([[False] * players, [True] * players]))
    tolerance = TRUNCATION * abs(everyone - none)
    contributions: list[Floats] = []
    shortest = players
    for walk in range(WALKS_PER_EVALUATION * oracle.budget):
        order = stream.permutations(1, players)[0]
        if guided:
            leader = walk % players
            order = np.concatenate([[leader], order[order != leader]])
        prefixes = _prefixes(order[None, :])
        values = np.full(players + 1, everyone)
        values[0] = none
        reached = 0
        for position in range(1, players + 1):
            if abs(everyone - values[position - 1]) <= tolerance:
                break
            if oracle.left == 0 and oracle.new_keys(prefixes[position : position + 1]):
                return _estimate(method, oracle, index, _Walks(_rows(contributions, players), shortest), tolerance)
            values[position] = oracle.ask(prefixes[position : position + 1])[0]
            reached = position
        # A truncated walk ends at its last value: what is left to v(all) is within tolerance and belongs to nobody.
        values[reached + 1 :] = values[reached]
        shortest = min(shortest, reached)
        contributions.append(_by_player(np.diff(values)[None, :], order[None, :], index)[0])
        if reached == 0:
            break
    return _estimate(method, oracle, index, _Walks(_rows(contributions, players), shortest), tolerance)


def _rows(contributions: list[Floats], players: int) -> Floats:
    return np.array(contributions).reshape(-1, players)


def _prefixes(orders: Ints) -> Bools:
    """All prefixes of each order, from none to all: bool [walks * (players + 1), players]."""
    players = orders.shape[1]
    position = np.empty_like(orders)
    np.put_along_axis(position, orders, np.arange(players)[None, :].repeat(len(orders), 0), axis=1)
    prefixes = position[:, None, :] < np.arange(players + 1)[None, :, None]
    return np.asarray(prefixes.reshape(-1, players))


def _by_player(gains: Floats, orders: Ints, index: Semivalue) -> Floats:
    """Gains by position -> weighted contributions by player, float64 [walks, players]."""
    result = np.empty_like(gains)
    np.put_along_axis(result, orders, gains * (index.players * index.size_share)[None, :], axis=1)
    return result


def _estimate(method: str, oracle: Oracle, index: Semivalue, walks: _Walks, tolerance: float | None = None) -> Estimate:
    count = len(walks.contributions)
    if count < 2 and (tolerance is None or walks.shortest > 0):
        raise BudgetError(f"{method} needs two units for a standard error; {oracle.budget} evaluations pay for {count}")
    values = walks.contributions.mean(axis=0)
    spread = walks.contributions.std(axis=0, ddof=1) if count > 1 else np.zeros(oracle.players)
    diagnostics: dict[str, float | int | str] = {"units": count}
    if tolerance is not None:
        diagnostics |= {"tolerance": float(tolerance), "shortest_walk": walks.shortest}
    return Estimate(values, spread / np.sqrt(count), oracle.evaluations, method, diagnostics)
