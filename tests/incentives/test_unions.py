"""Trainers of one named data root are one player: what identities earn, what they move, what stays to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.types import Digest32
from deltaproof.tuning.base_models.presets import complete_spec
from incentives.unions import Contribution, aggregate_contributions, data_unions, named_root, share_of, united
from incentives.valuation import value_round
from tests.incentives.tiny_rounds import ROWS, SEED, make_bench, make_contributions

ROOTS = [Digest32(bytes([i]) * 32) for i in range(4)]


def on(root: int, contribution: Contribution, order: int | None = None) -> Contribution:
    return replace(contribution, union=ROOTS[root], order=contribution.order if order is None else order)


@given(st.lists(st.sampled_from([None, *ROOTS]), max_size=12))
def test_data_unions_part_the_trainers(roots: list[Digest32 | None]) -> None:
    unions = data_unions(roots)
    assert sorted(i for union in unions for i in union) == list(range(len(roots)))
    assert [union[0] for union in unions] == sorted(union[0] for union in unions)
    for union in unions:
        assert len({roots[i] for i in union}) == 1
        assert len(union) == 1 or roots[union[0]] is not None
    named = [root for root in roots if root is not None]
    assert len(unions) == len(set(named)) + len(roots) - len(named)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 64))
def test_share_of_is_never_worth_more_than_the_whole(amount: int, members: int) -> None:
    assert amount - members < members * share_of(amount, members) <= amount


def test_named_root_counts_only_where_the_task_names_roots(source: str) -> None:
    assert named_root(complete_spec(source, "sequence-classification", {}), ROOTS[0]) is None
    named = {"data": {"roots": ["0x" + root.hex() for root in ROOTS]}}
    assert named_root(complete_spec(source, "sequence-classification", named), ROOTS[0]) == ROOTS[0]


@pytest.mark.parametrize("identities", [2, 3, 5])
def test_identities_on_one_shard_earn_what_one_would(source: str, identities: int) -> None:
    """Honest work in several names: the same delta each time is the extreme of it, and here no copy."""
    bench = make_bench(source)
    honest = [on(i, c) for i, c in enumerate(make_contributions(bench, 3))]
    alone = value_round(bench, bench.start, honest, ROWS, SEED)
    best = max(range(3), key=lambda i: alone.values[i].score_nanos)
    more = [on(best, honest[best], order=10 + i) for i in range(identities - 1)]
    many = value_round(bench, bench.start, [*honest, *more], ROWS, SEED)
    assert len(many.players) == 3
    mine = [best, *range(3, 2 + identities)]
    assert alone.values[best].score_nanos > 0
    earned = sum(many.values[i].score_nanos for i in mine)
    assert earned == pytest.approx(alone.values[best].score_nanos, abs=2_000)  # rounding of float32 factors
    for i in {0, 1, 2} - {best}:
        assert many.values[i].score_nanos == pytest.approx(alone.values[i].score_nanos, abs=2_000)
    assert np.allclose(many.next_start, alone.next_start, atol=1e-6)
    assert all(value.copy_of is None for value in many.values)


def test_sharers_of_different_deltas_get_equal_scores_of_their_mean(source: str) -> None:
    bench = make_bench(source)
    first, second, third = make_contributions(bench, 3)
    shared = [on(0, first), on(1, second), on(0, third)]
    found = value_round(bench, bench.start, shared, ROWS, SEED)
    whole = value_round(bench, bench.start, [united(bench, [shared[0], shared[2]]), shared[1]], ROWS, SEED)
    assert found.players == ((0, 2), (1,))
    assert found.values[0] == found.values[2]
    assert found.values[0].score_nanos == share_of(whole.values[0].score_nanos, 2)
    assert found.values[1] == whole.values[1]
    assert found.values_nanos == whole.values_nanos


def test_roots_of_their_own_change_nothing(source: str) -> None:
    bench = make_bench(source)
    plain = make_contributions(bench, 4)
    named = [on(i, c) for i, c in enumerate(plain)]
    before, after = (value_round(bench, bench.start, c, ROWS, SEED) for c in (plain, named))
    assert before.values == after.values
    assert before.values_nanos == after.values_nanos
    assert np.array_equal(before.next_start, after.next_start)


def test_copy_from_another_shard_is_still_a_copy(source: str) -> None:
    bench = make_bench(source, scoring={"similarity_threshold": 0.95})
    honest = [on(i, c) for i, c in enumerate(make_contributions(bench, 3))]
    found = value_round(bench, bench.start, [*honest, on(3, honest[1], order=9)], ROWS, SEED)
    assert found.values[3].copy_of == 1
    assert found.players == ((0,), (1,), (2,))


def test_median_hears_a_shard_once(source: str) -> None:
    """Without unions five identities of one would outvote three others in a median."""
    bench = make_bench(source, aggregation={"rule": "median", "include": "accepted"})
    honest = [on(i, c) for i, c in enumerate(make_contributions(bench, 3))]
    many = [on(2, honest[2], order=10 + i) for i in range(5)]
    alone, _ = aggregate_contributions(bench, bench.start, honest)
    heard, _ = aggregate_contributions(bench, bench.start, [*honest, *many])
    outvoted, _ = aggregate_contributions(bench, bench.start, [replace(c, union=None) for c in [*honest, *many]])

    def apart(theta: np.ndarray) -> float:
        return float(np.linalg.norm(theta.astype(np.float64) - alone) / np.linalg.norm(alone - bench.start))

    assert apart(heard) < 0.001
    assert apart(outvoted) > 0.1


def test_union_under_dropout_tunes_what_any_member_tuned(source: str) -> None:
    codec = {"name": "dropout", "options": {"fraction": 0.5}}
    bench = make_bench(source, codec=codec, optimizer={"name": "adam", "weight_decay": 0.0})
    masked = []
    for contribution in make_contributions(bench, 3)[:2]:
        mask = bench.codec.mask(bytes([contribution.order]) * 32)
        assert mask is not None
        masked.append(replace(on(0, contribution), theta=np.where(mask, contribution.theta, bench.start), tuned=mask))
    union = united(bench, masked)
    assert masked[0].tuned is not None
    assert masked[1].tuned is not None
    assert union.tuned is not None
    assert np.array_equal(union.tuned, masked[0].tuned | masked[1].tuned)
    assert union.rows == min(member.rows for member in masked)
