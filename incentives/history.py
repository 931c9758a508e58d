"""What a trainer was worth over several rounds, when not everybody took part in every round.

A round's values add up to its improvement. But a nat is cheap in the first round and dear in the last, and it is shared
by few or by many. So plain sums depend on which rounds a trainer happened to be in: equal work on equal data can get
several times another's sum (Fan et al. 2022, ComFedSV). Here each participation is credited at the average scale of all
rounds instead:

    value of i in round t = g_t q_i + noise,    credit of i = (rounds of i) * (q_i * mean scale + remainder).

g_t is the scale of a round, q_i the quality of a trainer. Both are fitted by weighted least squares: this is the
completion of the matrix of values with rank one. The remainder is the same for every participation, and makes credits
add up to the sum of all values. Trainers of equal quality get equal credit for each round, whichever rounds those were.

What is assumed: between rounds, a trainer's worth differs by a factor that all who took part have in common. That does
not describe a trainer whose data runs dry, who complements particular others, or whose noise starts to hurt only in
late rounds. `misfit` says how much of the values is left unexplained.

What it gains, on federated averaging of two equal and two noisy shards (tests/incentives/test_history.py), is the
difference between the two equal ones: in alternate rounds 18 % of the sums, 9 % of the credits; if one came early and
one late 46 % and 18 %. It does not fall if the others in their rounds differ as well.

Scales of two rounds can be compared only through trainers that link them, directly or by others. Rounds that nothing
links form separate `components`, and qualities are comparable within a component only.

This is a report over settled rounds. Pay is decided round by round (`payouts`), from that round's values alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from incentives.rounding import whole_numbers

__all__ = ["History", "SettledScore", "TrainerHistory", "history_values"]

_STEPS = 500
_TOLERANCE = 1e-13
_LEAST_RELATIVE_ERROR = 1e-3
"""Of the typical value: no observation counts as more exact than this, so that none takes over the fit."""


@dataclass(frozen=True, slots=True)
class SettledScore:
    """One trainer's score in one round with its standard error, nano-nats, as settled."""

    score_nanos: int
    stderr_nanos: int = 0


@dataclass(frozen=True, slots=True)
class TrainerHistory:
    """`observed_nanos` is the plain sum, `credit_nanos` the comparable one. `quality` is relative to the component's
    mean (1 = average); `component` numbers the set of linked rounds that the trainer belongs to."""

    rounds: int
    observed_nanos: int
    quality: float
    credit_nanos: int
    credit_stderr_nanos: int
    component: int


@dataclass(frozen=True, slots=True)
class History:
    """`scales`: g_t of each round in nano-nats, what an average trainer was worth in it (NaN for an empty round).
    `misfit`: root of the share of squared values, weighted by their precision, that the factors leave unexplained."""

    trainers: dict[str, TrainerHistory]
    scales: tuple[float, ...]
    misfit: float
    components: int


def history_values(rounds: Sequence[Mapping[str, SettledScore]]) -> History:
    """Comparable values of trainers over rounds; each round maps trainers to what was settled for them."""
    names = sorted({name for scores in rounds for name in scores})
    values, weights = _matrices(rounds, names)
    groups = _components(weights > 0)
    quality, scales = np.zeros(len(names)), np.full(len(rounds), np.nan)
    error, credits = np.zeros(len(names)), np.zeros(len(names))
    unexplained = 0.0
    taken = (weights > 0).sum(axis=0)
    for in_rounds, in_names in groups:
        block = np.ix_(in_rounds, in_names)
        g, q = _rank_one(values[block], weights[block])
        unexplained += float((weights[block] * (values[block] - np.outer(g, q)) ** 2).sum())
        quality[in_names], scales[in_rounds] = q, g
        n = taken[in_names]
        mean_scale = float((weights[block] > 0).sum(axis=1) @ g) / float(n.sum())
        remainder = (float(values[block].sum()) - mean_scale * float(n @ q)) / float(n.sum())
        credits[in_names] = n * (q * mean_scale + remainder)
        information = (weights[block] * g[:, None] ** 2).sum(axis=0)
        deviation = np.sqrt(np.divide(1.0, information, out=np.zeros(len(q)), where=information > 0))
        error[in_names] = deviation * n * abs(mean_scale)
    observed = [sum(scores[name].score_nanos for scores in rounds if name in scores) for name in names]
    member = {int(i): number for number, (_, in_names) in enumerate(groups) for i in in_names}
    whole = whole_numbers(credits.tolist(), sum(observed))
    trainers = {
        name: TrainerHistory(int(taken[i]), observed[i], float(quality[i]), whole[i], math.ceil(error[i]), member[i])
        for i, name in enumerate(names)
    }
    squares = float((weights * values**2).sum())
    misfit = math.sqrt(unexplained / squares) if squares else 0.0
    return History(trainers, tuple(scales.tolist()), misfit, len(groups))


def _matrices(
    rounds: Sequence[Mapping[str, SettledScore]], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values and weights (1 / variance; 0 where absent), float64 [rounds, trainers]."""
    values, errors = np.zeros((len(rounds), len(names))), np.zeros((len(rounds), len(names)))
    present = np.zeros(values.shape, dtype=np.bool_)
    for t, scores in enumerate(rounds):
        for i, name in enumerate(names):
            if name in scores:
                values[t, i], errors[t, i] = scores[name].score_nanos, scores[name].stderr_nanos
                present[t, i] = True
    typical = math.sqrt(float((values[present] ** 2).mean())) if present.any() else 0.0
    floor = max(1.0, _LEAST_RELATIVE_ERROR * typical)
    return values, np.where(present, 1.0 / np.maximum(errors, floor) ** 2, 0.0)


def _rank_one(
    values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """g and q that minimise sum weights * (values - g q^T)^2 by alternating least squares, q with mean 1."""
    scales, quality = np.zeros(len(values)), np.ones(values.shape[1])
    for _ in range(_STEPS):
        scales = _solve((weights * values * quality).sum(axis=1), (weights * quality**2).sum(axis=1))
        update = _solve((weights * values * scales[:, None]).sum(axis=0), (weights * scales[:, None] ** 2).sum(axis=0))
        mean = update.mean()
        # Mean 1 fixes the free factor between g and q; with a mean near 0 (as many harm as help) use the size instead.
        size = mean if abs(mean) > 0.1 * np.abs(update).max() else np.abs(update).max()
        update = update / size if size else update
        change, quality = float(np.abs(update - quality).max()), update
        if change < _TOLERANCE:
            break
    return _solve((weights * values * quality).sum(axis=1), (weights * quality**2).sum(axis=1)), quality


def _solve(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0))


def _components(present: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rounds and trainers of each connected part of the graph of participations, in order of the first round."""
    left = set(np.flatnonzero(present.any(axis=1)).tolist())
    parts = []
    while left:
        rounds, linked = {min(left)}, set[int]()
        while rounds != linked:
            linked = rounds
            trainers = present[sorted(linked)].any(axis=0)
            rounds = set(np.flatnonzero(present[:, trainers].any(axis=1)).tolist())
        parts.append((np.array(sorted(rounds)), np.flatnonzero(trainers)))
        left -= rounds
    return parts
