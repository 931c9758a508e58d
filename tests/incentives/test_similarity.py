"""Copies are found whatever they are dressed up as, unrelated updates are not, the first committed keeps its share."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deltaproof.tuning.combining.aggregation import LowRankPair, module_grams
from incentives.similarity import copies, similarities

Member = dict[str, NDArray[np.float32]]
PAIRS = [LowRankPair(f"layer.{i}", f"{i}.A", f"{i}.B", scale=2.0) for i in range(5)]
THRESHOLD = 0.9


def make_start(seed: int = 0) -> Member:
    rng = np.random.default_rng(seed)
    start: Member = {"head": rng.normal(size=(2, 20)).astype(np.float32)}
    for pair in PAIRS:
        start[pair.a] = rng.normal(size=(4, 20)).astype(np.float32)
        start[pair.b] = (0.1 * rng.normal(size=(16, 4))).astype(np.float32)
    return start


def trained(start: Member, seed: int) -> Member:
    rng = np.random.default_rng(1000 + seed)
    return {name: (v + 0.1 * rng.normal(size=v.shape)).astype(np.float32) for name, v in start.items()}


def scaled(start: Member, member: Member, factor: float) -> Member:
    """The update's products times a factor: rank 2R factors folded back into B would not fit, so B and head move."""
    return {n: (start[n] + factor * (member[n] - start[n])).astype(np.float32) for n in member}


def noised(start: Member, member: Member, level: float, only: str = "") -> Member:
    rng = np.random.default_rng(9)
    result = dict(member)
    for name, value in member.items():
        if name.startswith(only):
            noise = rng.normal(size=value.shape)
            size = np.linalg.norm(value - start[name]) / np.linalg.norm(noise)
            result[name] = (value + level * size * noise).astype(np.float32)
    return result


def refactored(member: Member, seed: int = 3) -> Member:
    rng = np.random.default_rng(seed)
    result = dict(member)
    for pair in PAIRS:
        mixing = rng.normal(size=(4, 4)) + 3 * np.eye(4)
        result[pair.b] = (member[pair.b].astype(np.float64) @ mixing).astype(np.float32)
        result[pair.a] = np.linalg.solve(mixing, member[pair.a].astype(np.float64)).astype(np.float32)
    return result


def test_similarities_in_blocks_have_the_bits_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [trained(START, seed) for seed in range(7)]
    members[2] = {**START, "head": members[2]["head"]}  # moves one module only
    whole = similarities(members, START, PAIRS)
    assert np.array_equal(module_grams(members, PAIRS, START)[:, 2:5], module_grams(members, PAIRS, START, slice(2, 5)))
    for block in (1, 3):
        monkeypatch.setattr("incentives.similarity.BLOCK", block)
        assert np.array_equal(similarities(members, START, PAIRS), whole)


START = make_start()
ORIGINAL = trained(START, 0)
DISGUISES = {
    "exact": ORIGINAL,
    "halved": scaled(START, ORIGINAL, 0.5),
    "doubled": scaled(START, ORIGINAL, 2.0),
    "noised": noised(START, ORIGINAL, 0.2),
    "refactored": refactored(ORIGINAL),
    "refactored and noised": noised(START, refactored(noised(START, ORIGINAL, 0.1)), 0.0),
    "wild noise in one module": noised(START, ORIGINAL, 50.0, only="0."),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_similarities_disguised_copy_found(disguise: str) -> None:
    members = [trained(START, 1), ORIGINAL, DISGUISES[disguise], trained(START, 2)]
    similarity = similarities(members, START, PAIRS)
    assert copies(similarity, [3, 0, 1, 2], THRESHOLD) == (None, None, 1, None)


def test_similarities_unrelated_updates_are_far() -> None:
    members = [trained(START, seed) for seed in range(6)]
    similarity = similarities(members, START, PAIRS)
    assert np.abs(similarity - np.eye(6)).max() < 0.3
    assert np.allclose(np.diag(similarity), 1.0)
    assert np.array_equal(similarity, similarity.T)


def test_similarities_opposite_update_is_no_copy() -> None:
    similarity = similarities([ORIGINAL, scaled(START, ORIGINAL, -0.2)], START, PAIRS)
    assert similarity[0, 1] < -0.5


def test_similarities_unchanged_adapter_resembles_nothing() -> None:
    """A free rider hands in the start; neither it nor a second one makes an honest trainer a copy."""
    similarity = similarities([START, ORIGINAL, START, refactored(START)], START, PAIRS)
    assert similarity[0, 1] == similarity[0, 2] == similarity[0, 0] == 0.0
    assert abs(similarity[3, 1]) < 0.5
    assert copies(similarity, [0, 1, 2, 3], THRESHOLD)[1] is None


def test_similarities_nobody() -> None:
    assert similarities([], START, PAIRS).shape == (0, 0)


def test_copies_first_committed_keeps_its_share() -> None:
    alike = np.ones((3, 3))
    assert copies(alike, [2, 0, 1], 1.0) == (1, None, 1)


def test_copies_chain_leads_to_its_origin() -> None:
    """C resembles B only, B resembles A: both are copies of A."""
    similarity = np.eye(3)
    similarity[0, 1] = similarity[1, 0] = similarity[1, 2] = similarity[2, 1] = 0.99
    assert copies(similarity, [0, 1, 2], 0.95) == (None, 0, 0)


def test_copies_later_imitator_never_hurts_the_earlier() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        similarity = rng.uniform(0, 1, (6, 6))
        similarity = np.maximum(similarity, similarity.T)
        order = rng.permutation(6).tolist()
        full = copies(similarity, order, 0.8)
        last = order.index(5)
        rest = [i for i in range(6) if i != last]
        without = copies(similarity[np.ix_(rest, rest)], [order[i] for i in rest], 0.8)
        assert [full[i] is None for i in rest] == [original is None for original in without]


def test_copies_equal_ranks_refused() -> None:
    with pytest.raises(ValueError, match="distinct ranks"):
        copies(np.eye(2), [1, 1], 0.9)
