"""Values of a round on the minimal model: against enumeration by hand, with copies, other rules, other processes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest

from deltaproof.errors import EncodingError
from deltaproof.protocol.evidence.state import Vector
from deltaproof.protocol.types import Digest32
from deltaproof.tuning.combining.aggregation import aggregate
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.mixing import aggregate_thetas, masks_of
from deltaproof.tuning.combining.slopes import Slopes
from deltaproof.tuning.methods.low_rank import low_rank_pairs, tensors_of, vector_of
from deltaproof.tuning.numerics.machine import HERE, Machine
from incentives._coalitions import CoalitionLosses
from incentives.semivalues import GameError
from incentives.similarity import similarities
from incentives.unions import Contribution
from incentives.valuation import RoundValuation, find_players, scores_from_table, value_round
from tests.incentives.tiny_rounds import ROWS, SEED, make_bench, make_contributions

TWO = Machine(workers=2, backend="processes")


def shapley_by_hand(values: dict[frozenset[int], float], players: int) -> list[float]:
    result = []
    for i in range(players):
        others = [j for j in range(players) if j != i]
        total = 0.0
        for size in range(players):
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            for members in combinations(others, size):
                coalition = frozenset(members)
                total += weight * (values[coalition | {i}] - values[coalition])
        result.append(total)
    return result


def table_of(valuation: RoundValuation) -> dict[frozenset[int], float]:
    rows = zip(valuation.coalitions, valuation.values_nanos, strict=True)
    return {frozenset(np.flatnonzero(row).tolist()): value for row, value in rows}


def test_value_round_scores_are_shapley_values_of_the_table(source: str) -> None:
    bench = make_bench(source)
    valuation = value_round(bench, bench.start, make_contributions(bench, 4), ROWS, SEED)
    table = table_of(valuation)
    assert len(table) == 16
    assert table[frozenset()] == 0
    by_hand = shapley_by_hand(table, 4)
    assert [v.score_nanos for v in valuation.values] == [round(x) for x in by_hand]
    assert valuation.values[-1].score_nanos < 0 < max(v.score_nanos for v in valuation.values)
    assert valuation.method == "exact"


def test_value_round_table_holds_real_losses(source: str) -> None:
    bench = make_bench(source)
    contributions = make_contributions(bench, 3)
    table = table_of(value_round(bench, bench.start, contributions, ROWS, SEED))
    evaluator = Evaluator(bench, ROWS)
    start = evaluator.evaluate(bench.start).loss
    for i, contribution in enumerate(contributions):
        assert table[frozenset([i])] == round((start - evaluator.evaluate(contribution.theta).loss) * 1e9)


def test_value_round_next_start_is_the_mean_of_positive_ones(source: str) -> None:
    bench = make_bench(source)
    contributions = make_contributions(bench, 4)
    valuation = value_round(bench, bench.start, contributions, ROWS, SEED)
    positive = tuple(i for i, v in enumerate(valuation.values) if v.score_nanos > 0)
    assert valuation.included == positive != (0, 1, 2, 3)
    members = [tensors_of(bench.layout, contributions[i].theta) for i in positive]
    expected = vector_of(bench.layout, aggregate(members, low_rank_pairs(bench.model)).tensors)
    assert np.array_equal(valuation.next_start, expected)
    losses = [Evaluator(bench, ROWS).evaluate(theta).loss for theta in (bench.start, valuation.next_start)]
    assert valuation.improvement_nanos == round((losses[0] - losses[1]) * 1e9)
    everyone = make_bench(source, aggregation={"include": "accepted"})
    assert value_round(everyone, bench.start, contributions, ROWS, SEED).included == (0, 1, 2, 3)


def test_value_round_copy_costs_its_victim_nothing(source: str) -> None:
    bench = make_bench(source, scoring={"similarity_threshold": 0.95})
    honest = make_contributions(bench, 3)
    noise = np.random.default_rng(1).normal(size=bench.layout.size) * 1e-4
    copy = Contribution((honest[1].theta + noise).astype(np.float32), rows=10, order=7)
    alone = value_round(bench, bench.start, honest, ROWS, SEED)
    copied = value_round(bench, bench.start, [honest[0], copy, *honest[1:]], ROWS, SEED)
    assert [copied.values[i] for i in (0, 2, 3)] == list(alone.values)
    assert (copied.values[1].score_nanos, copied.values[1].copy_of) == (0, 2)
    assert np.array_equal(copied.next_start, alone.next_start)
    assert copied.players == ((0,), (2,), (3,))


def test_find_players_compares_no_deltas_where_nobody_looks_for_copies(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default; the comparison is of every pair. The players are those of a comparison all the same."""
    own, shared, other = make_contributions(make_bench(source), 3)
    root = Digest32(bytes([1]) * 32)
    contributions = [replace(own, union=root), other, replace(shared, union=root)]
    compared: list[int] = []
    monkeypatch.setattr(
        "incentives.valuation.similarities", lambda members, *rest: compared.append(1) or similarities(members, *rest)
    )
    found = [
        find_players(bench, bench.start, contributions)
        for bench in (make_bench(source), make_bench(source, scoring={"similarity_threshold": 0.999999}))
    ]
    assert found == [((None, None, None), ((0, 2), (1,)))] * 2
    assert compared == [1], "only where the task looks for copies"


def test_value_round_same_bits_in_other_processes(source: str) -> None:
    bench = make_bench(source)
    contributions = make_contributions(bench, 3)
    told = list[int]()
    here, there = (
        value_round(bench, bench.start, contributions, ROWS, SEED, machine=m, told=told.append) for m in (HERE, TWO)
    )
    assert told == 2 * sorted(set(told)) != [], "how far it is, is told as it goes on"
    assert here.values == there.values
    assert here.values_nanos == there.values_nanos
    assert np.array_equal(here.coalitions, there.coalitions)
    assert np.array_equal(here.next_start, there.next_start)


def test_losses_and_slopes_travel_to_the_device_of_the_workers(source: str) -> None:
    bench = make_bench(source)
    thetas = [contribution.theta for contribution in make_contributions(bench, 2)]
    losses = CoalitionLosses(Evaluator(bench, ROWS), ROWS, thetas, None, device="cuda")
    slopes = Slopes(bench, ROWS, bench.start, thetas, 2, "cuda")
    assert [work.__reduce__()[1][1] for work in (losses, slopes)] == ["cuda", "cuda"]  # type: ignore[index]


def test_scores_from_table_repeats_the_scores_without_a_model(source: str) -> None:
    bench = make_bench(source, scoring={"budget": 24, "method": "kernelshap"})
    valuation = value_round(bench, bench.start, make_contributions(bench, 5), ROWS, SEED)
    scoring = bench.spec.scoring
    assert len(valuation.values_nanos) <= 24
    again = scores_from_table(valuation.coalitions, valuation.values_nanos, scoring, SEED)
    assert [round(x * 1e9) for x in again.values] == [v.score_nanos for v in valuation.values]
    with pytest.raises(GameError, match="lacks the coalition"):
        scores_from_table(valuation.coalitions[:-3], valuation.values_nanos[:-3], scoring, SEED)


def test_value_round_standard_error_is_of_the_validation_rows(source: str) -> None:
    """Exact values leave only the rows: against Shapley values of each row's own game."""
    bench = make_bench(source)
    contributions = make_contributions(bench, 3)
    valuation = value_round(bench, bench.start, contributions, ROWS, SEED)
    each = np.array(
        [[v.score_nanos for v in value_round(bench, bench.start, contributions, [row], SEED).values] for row in ROWS]
    )
    assert np.allclose(each.mean(axis=0), [v.score_nanos for v in valuation.values], atol=1e3)
    expected = each.std(axis=0, ddof=1) / np.sqrt(len(ROWS))
    assert np.allclose(expected, [v.stderr_nanos for v in valuation.values], rtol=1e-3)


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "multi_krum"])
def test_value_round_robust_rule_values_what_the_rule_makes(source: str, rule: str) -> None:
    options = {"trimmed_mean": {"trim_fraction": 0.3}, "multi_krum": {"byzantine": 1}}.get(rule, {})
    bench = make_bench(source, aggregation={"rule": rule, **options})
    contributions = make_contributions(bench, 3)
    table = table_of(value_round(bench, bench.start, contributions, ROWS, SEED))
    plain = make_bench(source)
    means = table_of(value_round(plain, bench.start, contributions, ROWS, SEED))
    for i in range(3):
        assert table[frozenset([i])] == pytest.approx(means[frozenset([i])], abs=2_000)  # rounding of float32 factors
    if rule != "multi_krum":  # which is the mean below five members
        assert table[frozenset([0, 1, 2])] != pytest.approx(means[frozenset([0, 1, 2])], abs=2_000)


def test_value_round_rows_weigh(source: str) -> None:
    bench = make_bench(source, aggregation={"weights": "rows"})
    contributions = make_contributions(bench, 2)
    table = table_of(value_round(bench, bench.start, contributions, ROWS, SEED))
    evaluator = Evaluator(bench, ROWS)
    mixed = evaluator.evaluate_means([c.theta for c in contributions], np.array([[1 / 3, 2 / 3]])).mean(0).loss
    assert table[frozenset([0, 1])] == round((evaluator.evaluate(bench.start).loss - mixed) * 1e9)


def test_value_round_nobody_accepted_keeps_the_start(source: str) -> None:
    bench = make_bench(source)
    valuation = value_round(bench, bench.start, [], ROWS, SEED)
    assert valuation.values == ()
    assert np.array_equal(valuation.next_start, bench.start)
    assert valuation.improvement_nanos == 0


def test_value_round_free_riders_earn_nothing(source: str) -> None:
    """Handing in the start itself: among others it dilutes, alone it is worth exactly 0."""
    bench = make_bench(source)
    riders = [Contribution(bench.start, 10, 0), Contribution(bench.start.copy(), 10, 1)]
    assert [v.score_nanos for v in value_round(bench, bench.start, riders, ROWS, SEED).values] == [0, 0]


def test_value_round_theta_of_other_shape_refused(source: str) -> None:
    bench = make_bench(source)
    wrong: Vector = np.zeros(3, np.float32)
    with pytest.raises(EncodingError, match="float32 of shape"):
        value_round(bench, bench.start, [Contribution(wrong, 1, 0)], ROWS, SEED)


@pytest.mark.parametrize("machine", [HERE, TWO], ids=["here", "two workers"])
def test_value_round_under_dropout_takes_means_over_those_who_tuned(source: str, machine: Machine) -> None:
    codec = {"name": "dropout", "options": {"fraction": 0.5}}
    bench = make_bench(source, codec=codec, optimizer={"name": "adam", "weight_decay": 0.0})
    contributions = []
    for contribution in make_contributions(bench, 3):
        mask = bench.codec.mask(bytes([contribution.order]) * 32)
        assert mask is not None
        theta = np.where(mask, contribution.theta, bench.start)
        contributions.append(Contribution(theta, contribution.rows, contribution.order, mask))
    valuation = value_round(bench, bench.start, contributions, ROWS, SEED, machine=machine)
    assert len(valuation.coalitions) == 8
    evaluator = Evaluator(bench, ROWS)
    for chosen, value in table_of(valuation).items():
        if chosen:
            members = [contributions[i] for i in sorted(chosen)]
            adapter, _ = aggregate_thetas(bench, [m.theta for m in members], None, masks_of([m.tuned for m in members]))
            expected = valuation.start.loss - evaluator.evaluate(adapter).loss
            assert value == pytest.approx(expected * 1e9, abs=2)
    included = [contributions[i] for i in valuation.included]
    again, _ = aggregate_thetas(bench, [c.theta for c in included], None, masks_of([c.tuned for c in included]))
    assert np.array_equal(valuation.next_start, again)


def test_value_round_without_a_usable_row_scores_nobody_and_goes_on(source: str) -> None:
    bench = make_bench(source)
    valuation = value_round(bench, bench.start, make_contributions(bench, 3), [b"no row", b"{}"], SEED)
    assert [(value.score_nanos, value.stderr_nanos) for value in valuation.values] == [(0, 0)] * 3
    assert np.array_equal(valuation.next_start, bench.start)
