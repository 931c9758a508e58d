"""The one entry point: checks what was asked for and calls the method."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from numpy.typing import ArrayLike

from deltaproof.protocol.rules import COALITIONS_PER_CALL, EXACT_PLAYERS
from incentives.semivalues import _permutations
from incentives.semivalues._auto import auto
from incentives.semivalues._exact import exact
from incentives.semivalues._index import Semivalue, semivalue_by_name
from incentives.semivalues._kernelshap import kernelshap
from incentives.semivalues._oracle import Mapper, Oracle, worker_pool
from incentives.semivalues._result import Estimate, Floats, Game, ScoringError, UnknownMethodError
from incentives.semivalues._strata import stratified, svarm
from incentives.semivalues._stream import Stream

_SAMPLERS: dict[str, Callable[[Oracle, Semivalue, Stream], Estimate]] = {
    "permutation": _permutations.permutation,
    "antithetic": _permutations.antithetic,
    "truncated": _permutations.truncated,
    "gtg": _permutations.gtg,
    "svarm": svarm,
    "stratified": stratified,
}
METHODS = ("auto", "exact", "kernelshap", *_SAMPLERS)
_SHAPLEY_ONLY = {
    "kernelshap": "its regression is the Shapley kernel's",
    "gtg": "its truncation rule is about v(all) - v(none), which only Shapley values share out",
}


def estimate(
    game: Game,
    *,
    n_players: int,
    budget: int,
    seed: bytes,
    index: str = "shapley",
    method: str = "auto",
    weights: ArrayLike | None = None,
    workers: int = 1,
    executor: Mapper | None = None,
    batch_size: int = COALITIONS_PER_CALL,
) -> Estimate:
    """Estimate a semivalue of every player.

    game: bool [coalitions, players] -> float64 [coalitions], finite, a function of the coalition alone.
    budget: most distinct coalitions the game may be asked for. If all 2^n_players fit, values are exact by any method.
    seed: any bytes; the result is a function of the game's values and the arguments, but not of `workers` or
    `executor`.
    index: "shapley", "banzhaf", "beta(a,b)" or "leave_one_out" (always computed, from n_players + 1 coalitions).
    method: one of METHODS.
    weights: positive aggregation weights [players], in any unit; equal if None. Only "auto" uses them.
    workers: processes that evaluate the game, which must then pickle. executor: a Mapper used instead.
    batch_size: coalitions per call of the game.

    Raises UnknownIndexError, UnknownMethodError, BudgetError, GameError (all ScoringError), and ScoringError itself for
    other arguments that make no sense.
    """
    semivalue = _checked(n_players, budget, seed, index, method, workers, batch_size)
    shares = _weights(weights, n_players)
    pool = nullcontext(executor) if executor is not None else worker_pool(game, workers)
    with pool as mapper:
        oracle = Oracle(game, n_players, budget, mapper, batch_size)
        return _run(method, oracle, semivalue, shares, seed)


def _run(method: str, oracle: Oracle, index: Semivalue, weights: Floats, seed: bytes) -> Estimate:
    fits = oracle.players <= EXACT_PLAYERS and 2**oracle.players <= oracle.budget
    if fits or method == "exact" or index.name == "leave_one_out":
        return exact(oracle, index)
    stream = Stream(seed, method)
    if method == "auto":
        return auto(oracle, index, weights, seed)
    if method == "kernelshap":
        return kernelshap(oracle, stream)
    return _SAMPLERS[method](oracle, index, stream)


def _checked(
    players: int, budget: int, seed: bytes, index: str, method: str, workers: int, batch_size: int
) -> Semivalue:
    if players < 1 or workers < 1 or batch_size < 1 or budget < 1:
        raise ScoringError(
            f"n_players, budget, workers and batch_size must be positive: {players}, {budget}, {workers}, {batch_size}"
        )
    if not isinstance(seed, bytes) or not seed:
        raise ScoringError(f"seed must be bytes, not {seed!r}")
    if method not in METHODS:
        raise UnknownMethodError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    semivalue = semivalue_by_name(index, players)
    if semivalue.name == "leave_one_out" and method not in {"auto", "exact"}:
        raise UnknownMethodError(
            f"leave_one_out is computed from N + 1 coalitions; there is nothing for {method!r} to sample"
        )
    if method in _SHAPLEY_ONLY and semivalue.name != "shapley":
        raise UnknownMethodError(
            f"{method} estimates the Shapley value only: {_SHAPLEY_ONLY[method]}; not {semivalue.name}"
        )
    if method == "truncated" and semivalue.name == "banzhaf":
        raise UnknownMethodError(
            "truncated assumes that large coalitions matter little; banzhaf weighs all sizes alike"
        )
    return semivalue


def _weights(weights: ArrayLike | None, players: int) -> Floats:
    result = np.ones(players) if weights is None else np.asarray(weights, dtype=np.float64)
    if result.shape != (players,) or not np.isfinite(result).all() or not (result > 0).all():
        raise ScoringError(f"weights must be {players} positive numbers, not {result.tolist()}")
    return result
