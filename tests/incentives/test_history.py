"""Values over rounds: what was planted comes back, sums are kept, and equal contributors of real rounds get alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from incentives.history import History, SettledScore, history_values
from incentives.semivalues import estimate

Floats = NDArray[np.float64]


def planted(scales: Sequence[float], qualities: dict[str, float], who: Sequence[str]) -> list[dict[str, SettledScore]]:
    return [
        {name: SettledScore(round(scale * qualities[name]), 100) for name in names.split()}
        for scale, names in zip(scales, who, strict=True)
    ]


def test_history_values_planted_qualities_come_back() -> None:
    qualities = {"ann": 1.5, "bob": 1.0, "cyn": 1.0, "dan": -0.5}
    rounds = planted([9e8, 3e8, 1e8, 5e7], qualities, ["ann bob", "ann cyn dan", "bob dan", "cyn ann"])
    history = history_values(rounds)
    mean = sum(qualities.values()) / 4
    for name, quality in qualities.items():
        assert history.trainers[name].quality == pytest.approx(quality / mean, rel=1e-6)
    assert history.scales == pytest.approx([9e8 * mean, 3e8 * mean, 1e8 * mean, 5e7 * mean], rel=1e-6)
    assert history.misfit < 1e-6
    assert history.components == 1


def test_history_values_equal_contributors_in_different_rounds_get_equal_credit() -> None:
    """bob worked when nats were cheap, cyn when they were dear; plain sums differ ninefold."""
    rounds = planted([9e8, 1e8] * 2, {"ann": 1.0, "bob": 0.8, "cyn": 0.8}, ["ann bob", "ann cyn"] * 2)
    trainers = history_values(rounds).trainers
    assert trainers["bob"].observed_nanos == 9 * trainers["cyn"].observed_nanos
    assert abs(trainers["bob"].credit_nanos - trainers["cyn"].credit_nanos) <= 2
    assert trainers["ann"].credit_nanos > 2 * trainers["bob"].credit_nanos  # better, and in twice as many rounds


def test_history_values_more_rounds_more_credit() -> None:
    rounds = planted([4e8, 2e8, 1e8], {"ann": 1.0, "bob": 1.0}, ["ann bob", "ann", "ann bob"])
    trainers = history_values(rounds).trainers
    assert trainers["ann"].credit_nanos == pytest.approx(1.5 * trainers["bob"].credit_nanos, rel=1e-6)


names = st.sampled_from(["ann", "bob", "cyn", "dan", "eve"])
observations = st.builds(SettledScore, st.integers(-(10**9), 10**9), st.integers(0, 10**8))
some_rounds = st.lists(st.dictionaries(names, observations, max_size=5), max_size=6)


@settings(deadline=None, max_examples=60)
@given(some_rounds)
def test_history_values_credits_add_up_to_what_was_observed(rounds: list[dict[str, SettledScore]]) -> None:
    history = history_values(rounds)
    observed = sum(o.score_nanos for scores in rounds for o in scores.values())
    assert sum(t.credit_nanos for t in history.trainers.values()) == observed
    assert sum(t.observed_nanos for t in history.trainers.values()) == observed
    # Credits of rounds that nothing links may be integers that numpy cannot hold.
    assert all(math.isfinite(t.quality) and math.isfinite(t.credit_nanos) for t in history.trainers.values())
    assert 0.0 <= history.misfit <= 1.0 + 1e-9


@settings(deadline=None, max_examples=30)
@given(some_rounds, st.permutations(["ann", "bob", "cyn", "dan", "eve"]))
def test_history_values_names_do_not_matter(rounds: list[dict[str, SettledScore]], renamed: list[str]) -> None:
    other = dict(zip(["ann", "bob", "cyn", "dan", "eve"], renamed, strict=True))
    straight = history_values(rounds).trainers
    mixed = history_values([{other[name]: o for name, o in scores.items()} for scores in rounds]).trainers
    for name, trainer in straight.items():
        tolerance = 1e-6 * max(1.0, *(abs(t.credit_nanos) for t in straight.values())) + 2
        assert mixed[other[name]].rounds == trainer.rounds
        assert mixed[other[name]].credit_nanos == pytest.approx(trainer.credit_nanos, abs=tolerance)


def test_history_values_unlinked_rounds_are_said_to_be() -> None:
    rounds = planted([4e8, 1e8, 1e8], {"ann": 1.0, "bob": 1.0, "cyn": 2.0}, ["ann bob", "cyn", "cyn"])
    history = history_values(rounds)
    assert history.components == 2
    assert history.trainers["ann"].component == history.trainers["bob"].component != history.trainers["cyn"].component


def test_history_values_value_not_of_rank_one_shows_as_misfit() -> None:
    """Each of two is worth much in the rounds where the other is worth nothing: no factors explain that."""
    high, low = SettledScore(10**8, 100), SettledScore(0, 100)
    history = history_values([{"ann": high, "bob": low}, {"ann": low, "bob": high}])
    assert history.misfit > 0.6


def test_history_values_nothing_settled() -> None:
    assert history_values([]) == History({}, (), 0.0, 0)


class FederatedRounds:
    """Real federated averaging: softmax regression on 4 shards, of which the first two are equal in kind."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = self.rng.normal(size=(12, 3))
        self.shards = [self.shard(0.0), self.shard(0.0), self.shard(0.2), self.shard(0.6)]
        self.held_out = self.shard(0.0, rows=800)

    def shard(self, noise: float, rows: int = 120) -> tuple[Floats, NDArray[np.int64]]:
        x = self.rng.normal(size=(rows, 12))
        y = (x @ self.truth + 0.5 * self.rng.gumbel(size=(rows, 3))).argmax(axis=1)
        wrong = self.rng.random(rows) < noise
        return x, np.where(wrong, self.rng.integers(0, 3, rows), y)

    def gradient(self, weights: Floats, shard: tuple[Floats, NDArray[np.int64]]) -> Floats:
        x, y = shard
        scores = np.exp(x @ weights)
        residual = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[y]
        return np.asarray(x.T @ residual / len(x))

    def loss(self, weights: Floats) -> float:
        x, y = self.held_out
        scores = x @ weights
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]).mean())

    def values(self, weights: Floats, deltas: list[Floats]) -> Floats:
        def game(coalitions: NDArray[np.bool_]) -> Floats:
            means = [sum(z * d for z, d in zip(row, deltas, strict=True)) / max(1, row.sum()) for row in coalitions]
            return np.array([self.loss(weights) - self.loss(weights + mean) for mean in means])

        return estimate(game, n_players=len(deltas), budget=16, seed=b"s").values

    def history(self, participation: Sequence[Sequence[int]]) -> list[dict[str, SettledScore]]:
        weights, rounds = np.zeros((12, 3)), []
        for members in participation:
            deltas = []
            for i in members:
                local = weights.copy()
                for _ in range(5):
                    local -= 0.15 * self.gradient(local, self.shards[i])
                deltas.append(local - weights)
            values = self.values(weights, deltas)
            rounds.append({f"t{i}": SettledScore(round(v * 1e9), 10**5) for i, v in zip(members, values, strict=True)})
            weights = weights + np.mean(deltas, axis=0)
        return rounds


@pytest.mark.parametrize(
    ("participation", "plain_at_least", "credited_at_most"),
    [([(0, 2, 3), (1, 2, 3)] * 4, 0.15, 0.12), ([(0, 2, 3)] * 4 + [(1, 2, 3)] * 4, 0.40, 0.22)],
    ids=["alternate", "early and late"],
)
def test_history_values_equal_data_in_different_real_rounds_gets_nearly_alike(
    participation: list[tuple[int, ...]], plain_at_least: float, credited_at_most: float
) -> None:
    """ComFedSV's measure: the relative difference between two equal contributors, of sums and of credits."""
    plain, credited = [], []
    for seed in range(12):
        trainers = history_values(FederatedRounds(seed).history(participation)).trainers
        for found, of in ((plain, "observed_nanos"), (credited, "credit_nanos")):
            first, second = (getattr(trainers[name], of) for name in ("t0", "t1"))
            found.append(abs(first - second) / max(first, second))
    assert np.median(plain) > plain_at_least
    assert np.median(credited) < credited_at_most
