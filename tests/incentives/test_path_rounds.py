"""Rounds of the minimal model that pay by Aumann-Shapley values: real gradients, names, harm, other processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deltaproof.protocol.evidence.rows import canonical_row
from deltaproof.protocol.rules import BPS, PATH_NODES, STEP_UNITS
from deltaproof.protocol.types import address
from deltaproof.tuning.combining.evaluation import Evaluator
from deltaproof.tuning.combining.slopes import Slopes
from deltaproof.tuning.errors import TuningError
from deltaproof.tuning.numerics.machine import Machine
from deltaproof.tuning.training.workbench import Workbench
from incentives.path import path_values, values_of_passes
from incentives.scoring import score_round
from incentives.steps import capped_units, update_norms
from incentives.unions import Contribution, aggregate_contributions
from incentives.valuation import value_round
from tests.incentives.tiny_rounds import ROWS, SEED, make_bench, make_contributions

BY_STEP: dict[str, Any] = {"scoring": {"index": "aumann_shapley"}, "aggregation": {"weights": "rows"}}
PLAIN_METHODS = ("ia3", "bitfit", "houlsby", "prompt", "shira")


@pytest.fixture(scope="module")
def bench(source: str) -> Workbench:
    return make_bench(source, **BY_STEP)


def test_slopes_are_the_derivatives_of_the_loss(bench: Workbench) -> None:
    """Against central differences of the evaluator, which knows nothing of gradients."""
    thetas = [c.theta for c in make_contributions(bench, 3)]
    slopes = Slopes(bench, ROWS, bench.start, thetas, groups=3)
    middle = np.array([0.4, 0.1, 0.3, 0.2])
    found = slopes(middle).sum(axis=0) / len(ROWS)
    evaluator, width = Evaluator(bench, ROWS), 0.02
    for i in range(3):
        turn = width * (np.arange(4) == i + 1) - width * (np.arange(4) == 0)
        losses = evaluator.evaluate_means([bench.start, *thetas], np.stack([middle + turn, middle - turn]))
        measured = (losses.mean(1).loss - losses.mean(0).loss) / (2 * width)
        assert found[i] == pytest.approx(measured, rel=0.02, abs=2e-5)


def test_slopes_leave_the_model_as_it_was(bench: Workbench) -> None:
    evaluator = Evaluator(bench, ROWS)
    before = evaluator.evaluate(bench.start)
    frozen = {name for name, p in bench.model.named_parameters() if not p.requires_grad}
    Slopes(bench, ROWS, bench.start, [bench.start], groups=1)(np.array([0.5, 0.5]))
    assert evaluator.evaluate(bench.start) == before
    assert {name for name, p in bench.model.named_parameters() if not p.requires_grad} == frozen


def test_value_round_scores_add_up_to_what_the_next_adapter_gained(bench: Workbench) -> None:
    found = value_round(bench, bench.start, make_contributions(bench, 4), ROWS, SEED)
    scores = [value.score_nanos for value in found.values]
    kept = [i for i, score in enumerate(scores) if score > 0]
    assert found.included == tuple(kept) == found.passes[-1].members
    assert scores[-1] < 0
    assert sum(scores[i] for i in kept) == found.passes[-1].gain_nanos
    assert found.improvement_nanos == pytest.approx(found.passes[-1].gain_nanos, abs=2_000)  # float32 factors
    assert values_of_passes(found.passes, 4, stay=False) == tuple(scores)
    assert (found.method, len(found.coalitions), found.values_nanos) == ("path", 0, ())
    assert all(value.stderr_nanos > 0 for value in found.values)


def test_value_round_same_bits_in_other_processes(bench: Workbench) -> None:
    made, told = make_contributions(bench, 3), list[int]()
    here, there = (
        value_round(bench, bench.start, made, ROWS, SEED, machine=machine, told=told.append)
        for machine in (Machine(), Machine(workers=2, backend="processes"))
    )
    evaluations = len(PATH_NODES) * len(here.passes)
    assert told == 2 * list(range(1, evaluations + 1)), "how far it is, is told as it goes on"
    assert here.passes == there.passes
    assert here.values == there.values
    assert np.array_equal(here.next_start, there.next_start)


def test_value_round_names_on_one_delta_earn_what_one_does(source: str) -> None:
    """Ten names with a tenth of the rows each; nothing calls them copies here, and nothing has to."""
    by_step = {
        **BY_STEP,
        "scoring": {"index": "aumann_shapley", "similarity_threshold": 1.0},
        "training": {"batch_size": 100, "steps": 5, "numeric": "bounded"},
    }
    bench = make_bench(source, **by_step)
    honest = [replace(c, rows=100) for c in make_contributions(bench, 3)]
    draw = np.random.default_rng(0)
    near = [honest[1].theta + 1e-6 * draw.normal(size=len(bench.start)).astype(np.float32) for _ in range(10)]
    names = [replace(honest[1], theta=theta, rows=10, order=10 + i) for i, theta in enumerate(near)]
    alone = value_round(bench, bench.start, honest, ROWS, SEED)
    many = value_round(bench, bench.start, [honest[0], *names, honest[2]], ROWS, SEED)
    assert alone.values[1].score_nanos > 100_000
    assert len(many.players) == 12
    earned = sum(value.score_nanos for value in many.values[1:11])
    assert earned == pytest.approx(alone.values[1].score_nanos, rel=1e-3)
    for i, j in ((0, 0), (2, 11)):
        assert many.values[j].score_nanos == pytest.approx(alone.values[i].score_nanos, rel=1e-3)


def test_value_round_claimed_rows_beyond_reach_count_nothing(bench: Workbench) -> None:
    made = make_contributions(bench, 2)
    reach = bench.spec.training.steps * bench.spec.training.batch_size
    full, inflated = (
        value_round(bench, bench.start, [made[0], replace(made[1], rows=rows)], ROWS, SEED) for rows in (reach, 2**28)
    )
    assert full.values == inflated.values


def test_value_round_free_rider_gets_exactly_nothing_and_dilutes_nobody(bench: Workbench) -> None:
    made = make_contributions(bench, 3)[:2]
    rider = replace(made[0], theta=bench.start.copy(), order=9, rows=40)
    alone, ridden = (value_round(bench, bench.start, who, ROWS, SEED) for who in (made, [*made, rider]))
    assert ridden.values[2].score_nanos == 0
    assert alone.passes[-1].members == ridden.passes[-1].members == (1,)
    assert ridden.values[1].score_nanos == alone.values[1].score_nanos > 0
    assert np.array_equal(ridden.next_start, alone.next_start)


def test_value_round_everybody_stays_where_the_task_includes_all_accepted(source: str) -> None:
    everybody = {"weights": "rows", "include": "accepted"}
    bench = make_bench(source, scoring={"index": "aumann_shapley"}, aggregation=everybody)
    found = value_round(bench, bench.start, make_contributions(bench, 4), ROWS, SEED)
    assert [len(p.members) for p in found.passes] == [4]
    assert found.included == (0, 1, 2, 3)
    assert sum(value.score_nanos for value in found.values) == found.passes[0].gain_nanos


def test_value_round_nobody_or_no_usable_row_scores_nobody(bench: Workbench) -> None:
    assert value_round(bench, bench.start, [], ROWS, SEED).passes == ()
    found = value_round(bench, bench.start, make_contributions(bench, 2), [b"no row", b"{}"], SEED)
    assert [(v.score_nanos, v.stderr_nanos) for v in found.values] == [(0, 0)] * 2
    assert np.array_equal(found.next_start, bench.start)


def test_value_round_exploding_delta_is_shortened_and_paid_nothing(bench: Workbench) -> None:
    """A third of the rows hands in values near the end of float32; the others are valued as if it were not there."""
    made = make_contributions(bench, 3)[:2]
    wild = replace(made[0], theta=np.full_like(bench.start, 1e18), order=9, rows=20)
    found, alone = (value_round(bench, bench.start, who, ROWS, SEED) for who in ([*made, wild], made))
    assert found.values[2].score_nanos <= 0
    assert found.values[1].score_nanos == alone.values[1].score_nanos > 0
    assert np.isfinite(found.next_start).all()


def test_aggregate_caps_norms_at_the_median_row(bench: Workbench) -> None:
    first, second, third = make_contributions(bench, 3)
    long = replace(second, theta=(bench.start + 1_000 * (second.theta - bench.start)).astype(np.float32))
    members = [first, long, third]
    step, _ = aggregate_contributions(bench, bench.start, members)
    moved, *norms = update_norms(bench, bench.start, [step, *(member.theta for member in members)])
    assert norms[1] > 1_000 * (median := sorted(norms)[1])
    assert 0 < moved <= median * (1 + 1e-6)


@pytest.mark.parametrize("name", PLAIN_METHODS)
def test_methods_that_add_up_are_valued(source: str, name: str) -> None:
    bench = make_bench(source, method={"name": name, "options": {}}, **BY_STEP)
    draw = np.random.default_rng(3)
    moves = [0.02 * draw.normal(size=bench.layout.size).astype(np.float32) for _ in range(3)]
    made = [Contribution(bench.start + move, 10, i) for i, move in enumerate(moves)]
    found = value_round(bench, bench.start, made, ROWS, SEED)
    assert sum(path_values(found.passes[0])) == found.passes[0].gain_nanos
    assert sum(found.passes[0].units) <= STEP_UNITS
    assert all(len(row) == len(PATH_NODES) for row in found.passes[0].slopes_nanos)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"method": {"name": "vera", "options": {"target_modules": ["query"]}}}, "those of vera cannot be merged"),
        ({"method": {"name": "diff_pruning", "options": {}}}, "what diff_pruning aggregates is not what it trains"),
        ({"codec": {"name": "dropout", "options": {}}, "optimizer": {"name": "adam", "weight_decay": 0.0}},
         "under federated dropout every value has a mean of its own"),
    ],
)  # fmt: skip
def test_methods_and_codecs_that_do_not_add_up_are_refused(source: str, sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(TuningError, match=reason):
        make_bench(source, **sections, **BY_STEP)


def test_name_without_a_row_of_its_own_is_discounted_as_a_copy_is(source: str) -> None:
    """Else a floor would pay for the name."""
    terms = {**BY_STEP, "scoring": {**BY_STEP["scoring"], "rows": "distinct", "similarity_threshold": 1.0}}
    bench = make_bench(source, **terms)
    first, second, third = make_contributions(bench, 3)
    shown = (frozenset(ROWS[:3]), frozenset(ROWS[:3]), frozenset(ROWS[3:]))
    names = [
        replace(c, rows=len(rows), opened=lambda rows=rows: rows, enrolled=rank)
        for rank, (c, rows) in enumerate(zip((first, second, third), shown, strict=True))
    ]
    people = [address(bytes([n]) * 20) for n in (1, 2, 3)]
    found = score_round(bench, bench.start, dict(zip(people, names, strict=True)), ROWS, SEED)
    assert found.game is not None
    assert [(r.counted, found.findings[r.trainer].discount_bps) for r in found.game.rows] == [(3, 0), (0, BPS), (5, 0)]
    assert found.findings[people[1]].score_nanos == 0


def test_round_is_scored_where_likeness_would_leave_only_names_without_rows(source: str) -> None:
    """Names on rows that are taken commit first, and all that have rows are alike to them: no verifier could score."""
    bench = make_bench(source, **{**BY_STEP, "scoring": {**BY_STEP["scoring"], "rows": "distinct",
                                                         "similarity_threshold": 0.95}})  # fmt: skip
    delta = make_contributions(bench, 2)[0]
    own, others = (
        frozenset(canonical_row({"text": f"{name}{i} {name}a{i} {name}b{i}", "label": 1}) for i in range(8))
        for name in "xy"
    )
    made = [
        replace(delta, rows=8, order=order, opened=lambda rows=rows: rows, enrolled=rank)
        for rank, (order, rows) in enumerate(((2, own), (0, own), (1, others)))
    ]
    people = [address(bytes([n]) * 20) for n in (1, 2, 3)]
    found = score_round(bench, bench.start, dict(zip(people, made, strict=True)), ROWS, SEED)
    assert [found.findings[person].discount_bps for person in people] == [0, BPS, 0]
    assert found.game is not None
    assert found.game.players == (people[1], people[2])  # the first to commit of two who are alike
    assert [found.findings[person].score_nanos != 0 for person in people] == [False, False, True]
    assert capped_units([1.0], [0]) == (0,)
