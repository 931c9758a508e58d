"""Aggregation in product space: against dense linear algebra, under re-factorisation, and bit for bit elsewhere."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deltaproof.tuning.combining.aggregation import (
    AggregationRule,
    LowRankPair,
    aggregate,
    mixture_weights,
    module_grams,
)

Member = dict[str, NDArray[np.float32]]
PAIRS = [
    LowRankPair("layer.query", "query.A", "query.B", scale=2.0),
    LowRankPair("layer.value", "value.A", "value.B", scale=2.0),
    LowRankPair("layer.wide", "wide.A", "wide.B", scale=0.5),
]
SHAPES = {"query": (12, 4, 10), "value": (12, 4, 10), "wide": (30, 3, 8)}  # out, rank, in


def make_members(count: int, seed: int = 0) -> list[Member]:
    """Adapters that share most of A, as trainers who started from the same one do."""
    rng = np.random.default_rng(seed)
    shared = {name: rng.normal(size=(r, i)) for name, (_, r, i) in SHAPES.items()}
    members = []
    for _ in range(count):
        member = {"head.weight": rng.normal(size=(2, 10)), "head.bias": rng.normal(size=2)}
        for name, (o, r, i) in SHAPES.items():
            member[f"{name}.A"] = shared[name] + 0.1 * rng.normal(size=(r, i))
            member[f"{name}.B"] = 0.3 * rng.normal(size=(o, r))
        members.append({name: value.astype(np.float32) for name, value in member.items()})
    return members


def product(member: Member, pair: LowRankPair) -> NDArray[np.float64]:
    return pair.scale * (member[pair.b].astype(np.float64) @ member[pair.a].astype(np.float64))


def refactored(member: Member, seed: int) -> Member:
    """(B R)(R^-1 A): other factors, the same adapter."""
    rng = np.random.default_rng(seed)
    other = dict(member)
    for pair in PAIRS:
        mixing = rng.normal(size=(member[pair.a].shape[0],) * 2) + 2 * np.eye(member[pair.a].shape[0])
        other[pair.b] = (member[pair.b].astype(np.float64) @ mixing).astype(np.float32)
        other[pair.a] = np.linalg.solve(mixing, member[pair.a].astype(np.float64)).astype(np.float32)
    return other


def truncated(matrix: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray((u[:, :rank] * s[:rank]) @ vt[:rank])


def digest_of(tensors: Member) -> str:
    state = hashlib.sha256()
    for name in sorted(tensors):
        state.update(name.encode() + tensors[name].tobytes())
    return state.hexdigest()


@pytest.mark.parametrize("weights", [None, [5, 1, 1]])
def test_aggregate_mean_is_best_approximation_of_mean_product(weights: Sequence[int] | None) -> None:
    members = make_members(3)
    result = aggregate(members, PAIRS, weights=weights)
    shares = np.asarray(weights or [1, 1, 1]) / sum(weights or [1, 1, 1])
    lost, whole = 0.0, 0.0
    for pair in PAIRS:
        mean = sum(p * product(m, pair) for p, m in zip(shares, members, strict=True))
        best = truncated(mean, members[0][pair.a].shape[0])
        assert np.abs(product(result.tensors, pair) - best).max() < 1e-6 * np.abs(mean).max()
        error = np.linalg.norm(mean - best)
        assert result.by_module[pair.module] == pytest.approx(error / np.linalg.norm(mean), rel=1e-9)
        lost, whole = lost + error**2, whole + np.linalg.norm(mean) ** 2
    assert result.truncation_error == pytest.approx(np.sqrt(lost / whole), rel=1e-9)
    head = sum(p * m["head.weight"].astype(np.float64) for p, m in zip(shares, members, strict=True))
    assert np.allclose(result.tensors["head.weight"], head, atol=1e-7)


def test_aggregate_single_member_keeps_its_product() -> None:
    (member,) = make_members(1)
    result = aggregate([member], PAIRS)
    for pair in PAIRS:
        assert np.abs(product(result.tensors, pair) - product(member, pair)).max() < 1e-6
    assert result.truncation_error < 1e-7


def test_aggregate_mean_of_factors_would_be_wrong() -> None:
    """The trap this module exists for: A and B averaged apart are another adapter."""
    member = make_members(1)[0]
    other = refactored(member, seed=5)
    result = aggregate([member, other], PAIRS)
    apart = {name: (member[name] + other[name]) / 2 for name in member}
    for pair in PAIRS:
        target = product(member, pair)
        assert np.abs(product(result.tensors, pair) - target).max() < 1e-5 * np.abs(target).max()
        assert np.abs(product(apart, pair) - target).max() > 0.1 * np.abs(target).max()


def test_aggregate_factors_are_canonical() -> None:
    members = make_members(3)
    tensors = aggregate(members, PAIRS).tensors
    for pair in PAIRS:
        a, b = tensors[pair.a].astype(np.float64), tensors[pair.b].astype(np.float64)
        length = np.sqrt(np.mean([np.sum(m[pair.a].astype(np.float64) ** 2, 1) for m in members]))
        assert np.allclose(a @ a.T, length**2 * np.eye(len(a)), atol=1e-5 * length**2)
        sizes = np.linalg.norm(b, axis=0)
        assert (np.diff(sizes) < 0).all()
        assert (np.take_along_axis(a, np.abs(a).argmax(1)[:, None], 1) > 0).all()


def test_aggregate_untrained_pair_keeps_live_directions() -> None:
    """B = 0 as LoRA starts: the product is zero, and A must not become zero with it, or nothing could be learnt."""
    members = make_members(2)
    for member in members:
        member["query.B"] = np.zeros_like(member["query.B"])
    tensors = aggregate(members, PAIRS).tensors
    assert (tensors["query.B"] == 0).all()
    assert np.linalg.matrix_rank(tensors["query.A"]) == 4


def test_aggregate_rank_limit_silences_further_directions() -> None:
    members = make_members(3)
    tensors = aggregate(members, PAIRS, AggregationRule(rank=2)).tensors
    for pair in PAIRS:
        assert np.linalg.matrix_rank(product(tensors, pair)) == 2
        best = truncated(np.mean([product(m, pair) for m in members], axis=0), 2)
        assert np.abs(product(tensors, pair) - best).max() < 1e-6
    with pytest.raises(ValueError, match="rank 4 exceeds the adapter's rank 3"):
        aggregate(members, PAIRS, AggregationRule(rank=4))


def test_aggregate_many_members_subspace_path_agrees_with_dense() -> None:
    rng = np.random.default_rng(3)
    pair = LowRankPair("m", "A", "B", 1.0)
    base = rng.normal(size=(8, 60))
    members = [
        {
            "A": (base + 0.2 * rng.normal(size=(8, 60))).astype(np.float32),
            "B": rng.normal(size=(50, 8)).astype(np.float32) + 1,
        }
        for _ in range(40)
    ]
    result = aggregate(members, [pair])
    mean = np.mean([product(m, pair) for m in members], axis=0)
    best = truncated(mean, 8)
    reached = np.linalg.norm(product(result.tensors, pair) - mean)
    assert reached <= np.linalg.norm(best - mean) * (1 + 1e-6)
    assert result.truncation_error == pytest.approx(reached / np.linalg.norm(mean), rel=1e-6)


@pytest.mark.parametrize("count", [2, 3, 5, 6])
def test_aggregate_median_of_products(count: int) -> None:
    members = make_members(count)
    result = aggregate(members, PAIRS, AggregationRule("median"))
    for pair in PAIRS:
        target = np.median([product(m, pair) for m in members], axis=0)
        rank = members[0][pair.a].shape[0]
        reached = np.linalg.norm(product(result.tensors, pair) - target)
        assert reached == pytest.approx(np.linalg.norm(truncated(target, rank) - target), rel=1e-3)
        assert result.by_module[pair.module] == pytest.approx(reached / np.linalg.norm(target), rel=1e-4)
    assert np.allclose(result.tensors["head.bias"], np.median([m["head.bias"] for m in members], axis=0))


def test_aggregate_weighted_median_counts_rows() -> None:
    values = [np.array([v], np.float32) for v in (1.0, 2.0, 9.0)]
    members = [{"x": value} for value in values]
    assert aggregate(members, [], AggregationRule("median"), [1, 1, 5]).tensors["x"] == 9.0
    assert aggregate(members, [], AggregationRule("median"), [3, 1, 2]).tensors["x"] == 1.5
    assert aggregate(members, [], AggregationRule("median"), [1, 1, 1]).tensors["x"] == 2.0


def test_aggregate_trimmed_mean_cuts_the_same_at_each_end() -> None:
    members = [{"x": np.array([v], np.float32)} for v in (-100.0, 1.0, 2.0, 3.0, 1000.0)]
    assert aggregate(members, [], AggregationRule("trimmed_mean", trim_fraction=0.2)).tensors["x"] == 2.0
    assert aggregate(members, [], AggregationRule("trimmed_mean", trim_fraction=0.0)).tensors["x"] == np.float32(181.2)
    half = aggregate(members, [], AggregationRule("trimmed_mean", trim_fraction=0.1)).tensors["x"]
    assert half == pytest.approx((0.5 * -100 + 6 + 0.5 * 1000) / 4)


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "multi_krum"])
def test_aggregate_robust_rule_one_hostile_member_bounded(rule: str) -> None:
    honest = make_members(6, seed=1)
    hostile = {name: (value * -300).astype(np.float32) for name, value in honest[0].items()}
    members = [*honest[:3], hostile, *honest[3:]]
    robust = aggregate(members, PAIRS, AggregationRule(rule, trim_fraction=0.2, byzantine=1))  # type: ignore[arg-type]
    plain = aggregate(members, PAIRS)
    for pair in PAIRS:
        largest = max(np.linalg.norm(product(m, pair)) for m in honest)
        assert np.linalg.norm(product(robust.tensors, pair)) < largest
        assert np.linalg.norm(product(plain.tensors, pair)) > 10 * largest
    if rule == "multi_krum":
        assert robust.selected == (0, 1, 2, 4, 5, 6)


def test_aggregate_extreme_values_stay_finite() -> None:
    members = make_members(3)
    members[1] = {name: np.where(value > 0, 3.4e38, -3.4e38).astype(np.float32) for name, value in members[1].items()}
    members[2] = {name: (value * 1e-30).astype(np.float32) for name, value in members[2].items()}
    for rule in ("mean", "median", "trimmed_mean", "multi_krum"):
        result = aggregate(members, PAIRS, AggregationRule(rule))
        assert all(np.isfinite(value).all() for value in result.tensors.values())


def test_aggregate_multi_krum_too_few_members_is_the_mean() -> None:
    members = make_members(4)
    krum = aggregate(members, PAIRS, AggregationRule("multi_krum", byzantine=1))
    assert krum.selected == (0, 1, 2, 3)
    assert digest_of(krum.tensors) == digest_of(aggregate(members, PAIRS).tensors)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.permutations(range(4)))
def test_aggregate_order_changes_rounding_only(seed: int, order: list[int]) -> None:
    members = make_members(4, seed)
    straight, mixed = aggregate(members, PAIRS), aggregate([members[i] for i in order], PAIRS)
    for pair in PAIRS:
        assert np.abs(product(straight.tensors, pair) - product(mixed.tensors, pair)).max() < 1e-5


def test_module_grams_equal_dense_inner_products() -> None:
    members, start = make_members(4), make_members(1, seed=9)[0]
    grams = module_grams(members, PAIRS, start)
    twisted = module_grams([refactored(m, 7) for m in members], PAIRS, refactored(start, 8))
    for number, pair in enumerate(PAIRS):
        dense = np.stack([(product(m, pair) - product(start, pair)).ravel() for m in members])
        assert np.allclose(grams[number], dense @ dense.T, rtol=1e-10)
        assert np.allclose(twisted[number], dense @ dense.T, rtol=1e-4, atol=1e-4)
    heads = np.stack([(m["head.weight"].astype(float) - start["head.weight"]).ravel() for m in members])
    assert np.allclose(grams[len(PAIRS) + 1], heads @ heads.T)


def test_mixture_weights_share_by_rows() -> None:
    coalitions = np.array([[False, False, False], [True, False, True], [True, True, True]])
    assert mixture_weights(coalitions, [1, 5, 3]).tolist() == [[0, 0, 0], [0.25, 0, 0.75], [1 / 9, 5 / 9, 3 / 9]]


def test_aggregate_bad_input_refused() -> None:
    members = make_members(2)
    with pytest.raises(ValueError, match="0 members"):
        aggregate([], PAIRS)
    with pytest.raises(ValueError, match="weights from 1"):
        aggregate(members, PAIRS, weights=[1, 0])
    with pytest.raises(ValueError, match="other tensors"):
        aggregate([members[0], {**members[1], "extra": np.zeros(1, np.float32)}], PAIRS)
    with pytest.raises(ValueError, match="not finite"):
        aggregate([members[0], {**members[1], "head.bias": np.array([0, np.nan], np.float32)}], PAIRS)
    with pytest.raises(ValueError, match="is no product"):
        aggregate(members, [LowRankPair("m", "query.A", "wide.B", 1.0)])


PROBE = """
import sys
sys.path.insert(0, {root!r})
from tests.tuning.test_aggregation import PAIRS, AggregationRule, aggregate, digest_of, make_members
for count in (3, 50):
    for rule in ("mean", "median", "multi_krum"):
        print(digest_of(aggregate(make_members(count), PAIRS, AggregationRule(rule, byzantine=1)).tensors))
"""


def test_aggregate_same_bits_on_a_machine_without_wide_vectors() -> None:
    """numpy restricted to its baseline instructions stands in for another processor; BLAS runs with other kernels."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    digests = []
    features = [name for name, present in np._core._multiarray_umath.__cpu_features__.items() if present]
    dispatched = [name for name in features if name in np._core._multiarray_umath.__cpu_dispatch__]
    assert dispatched, "this processor has nothing to restrict"
    for disabled, threads in ([], "2"), (dispatched, "1"):
        environment = {
            **os.environ,
            "NPY_DISABLE_CPU_FEATURES": " ".join(disabled),
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_CORETYPE": "Prescott" if disabled else "Haswell",
        }
        command = [sys.executable, "-c", PROBE.format(root=root)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        digests.append(done.stdout)
    assert digests[0] == digests[1]
    assert len(digests[0].split()) == 6
