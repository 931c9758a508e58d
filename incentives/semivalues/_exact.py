"""The index itself, from every coalition it needs."""

from __future__ import annotations

import numpy as np

from deltaproof.protocol.rules import EXACT_PLAYERS
from incentives.semivalues._index import Semivalue
from incentives.semivalues._oracle import Oracle
from incentives.semivalues._result import Bools, BudgetError, Estimate, Floats


def exact(oracle: Oracle, index: Semivalue) -> Estimate:
    """All coalitions, or the N + 1 that leave-one-out needs."""
    players = oracle.players
    if index.name == "leave_one_out":  # all coalitions but N + 1 of them have coefficient zero
        values = oracle.ask(~np.vstack([np.zeros((1, players), dtype=np.bool_), np.eye(players, dtype=np.bool_)]))
        return _result(values[0] - values[1:], oracle)
    if players > EXACT_PLAYERS or oracle.budget < 2**players:
        raise BudgetError(
            f"exact values of {players} players take {2**players} evaluations, the budget is {oracle.budget}"
        )
    coalitions = all_coalitions(players)
    return _result(semivalue(coalitions, oracle.ask(coalitions), index), oracle)


def all_coalitions(players: int) -> Bools:
    """Every coalition, bool [2^players, players]; row r holds the bits of r, player 0 the lowest."""
    return (np.arange(2**players)[:, None] >> np.arange(players)[None, :] & 1).astype(np.bool_)


def semivalue(coalitions: Bools, values: Floats, index: Semivalue) -> Floats:
    """sum_S v(S) * (member weight if i in S else -outsider weight) over the rows given, float64 [players]."""
    sizes = coalitions.sum(axis=1)
    member, outsider = index.member_weight()[sizes] * values, index.outsider_weight()[sizes] * values
    # Column by column and by sum, not by matmul: the same bits whatever BLAS or its threads do.
    return np.array([np.where(column, member, -outsider).sum() for column in coalitions.T])


def _result(values: Floats, oracle: Oracle) -> Estimate:
    return Estimate(values, np.zeros(oracle.players), oracle.evaluations, "exact")
