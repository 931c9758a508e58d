"""The sampled steps: always the ends, never twice the same, nobody's choice, the same for every verifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.draws.samples import draw_samples, replayed_steps, samples_needed
from deltaproof.protocol.draws.stream import HashStream
from deltaproof.protocol.types import Digest32, address

SEED = Digest32(b"\x05" * 32)
TRAINER = address(b"\x02" * 20)


def numbered(i: int) -> Digest32:
    return Digest32(i.to_bytes(32, "big"))


def draw_one(seed: Digest32, *, steps: int, extra: int) -> tuple[int, ...]:
    return draw_samples(seed, 1, 1, TRAINER, steps=steps, extra=extra)


@given(st.integers(1, 200), st.integers(0, 250), st.binary(min_size=32, max_size=32))
def test_draw_has_both_ends_and_distinct_steps(steps: int, extra: int, seed: bytes) -> None:
    sample = draw_one(Digest32(seed), steps=steps, extra=extra)
    assert list(sample) == sorted(set(sample))
    assert {0, steps - 1} <= set(sample) <= set(range(steps))
    assert len(sample) == min(steps, len({0, steps - 1}) + extra) == replayed_steps(steps, extra)


def test_draw_is_the_beginning_of_a_shuffle() -> None:
    """The definition in docs/protocol/rounds.md, spelled out."""
    steps, extra = 30, 8
    stream = HashStream(b"deltaproof/sample/v2\x00" + SEED + bytes(7) + b"\x05" + bytes(3) + b"\x06" + b"\x02" * 20)
    between = list(range(1, steps - 1))
    for i in range(len(between)):
        j = i + stream.below(len(between) - i)
        between[i], between[j] = between[j], between[i]
    drawn = draw_samples(SEED, 5, 6, TRAINER, steps=steps, extra=extra)
    assert set(drawn) == {0, *between[:extra], steps - 1}


def test_more_samples_replay_the_same_steps_and_others() -> None:
    fewer, more = (draw_one(SEED, steps=100, extra=extra) for extra in (10, 30))
    assert set(fewer) < set(more)


def test_draw_differs_for_everything_it_depends_on() -> None:
    draws = {
        draw_samples(seed, task, round_index, trainer, steps=1000, extra=10)
        for seed in (SEED, Digest32(bytes(32)))
        for task in (1, 2)
        for round_index in (1, 2)
        for trainer in (TRAINER, address(b"\x03" * 20))
    }
    assert len(draws) == 16


def test_draw_is_uniform_over_the_steps_between() -> None:
    draws = 4000
    samples = [draw_one(numbered(i), steps=12, extra=3)[1:-1] for i in range(draws)]
    seen = Counter(step for sample in samples for step in sample)
    assert set(seen) == set(range(1, 11))
    assert chi_squared(seen.values(), draws * 3 / 10) < 27.88  # 9 degrees of freedom, p = 0.001; the draws are fixed
    subsets = Counter(samples)
    assert set(subsets) == set(combinations(range(1, 11), 3))
    assert chi_squared(subsets.values(), draws / 120) < 173.6  # 119 degrees of freedom, p = 0.001


def chi_squared(counts: Iterable[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


def test_draw_misses_no_more_often_than_promised() -> None:
    """Five of a hundred steps are bad: k samples miss them with probability below (1 - f)^k."""
    bad, draws, missed = {3, 20, 41, 70, 99}, 3000, 0.95**6
    misses = sum(bad.isdisjoint(draw_one(numbered(i), steps=102, extra=6)) for i in range(draws))
    assert misses / draws <= missed + 3 * (missed * (1 - missed) / draws) ** 0.5


def test_prepared_guess_rarely_covers_the_sample() -> None:
    """Attack: do the sampled steps only, guessing which. Three extra of ten: a guess is right once in 120."""
    hits = sum(draw_one(numbered(i), steps=12, extra=3) == (0, 1, 2, 3, 11) for i in range(6000))
    assert 25 <= hits <= 80


def test_draw_from_billions_of_steps_keeps_only_what_it_takes() -> None:
    drawn = draw_one(Digest32(sha256(b"long").digest()), steps=2**31, extra=5)
    assert len(set(drawn)) == 7
    assert drawn[0] == 0
    assert drawn[-1] == 2**31 - 1


@pytest.mark.parametrize(("steps", "extra"), [(0, 1), (1, -1)])
def test_draw_refuses_impossible_sizes(steps: int, extra: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw_one(SEED, steps=steps, extra=extra)


def test_samples_needed_is_the_promised_number() -> None:
    assert samples_needed(0.05, 0.99) == 90
    assert samples_needed(0.5, 0.99) == 7
    with pytest.raises(ValueError, match="strictly between"):
        samples_needed(1.0, 0.5)


@given(st.integers(1, 2**64), st.binary(max_size=8))
def test_stream_stays_below_its_bound_and_repeats_itself(bound: int, prefix: bytes) -> None:
    first, second = HashStream(prefix), HashStream(prefix)
    values = [first.below(bound) for _ in range(9)]
    assert values == [second.below(bound) for _ in range(9)]
    assert all(0 <= value < bound for value in values)


def test_stream_rejects_words_above_the_last_whole_multiple() -> None:
    """With a bound just over 2^63, almost half of the words must be skipped, not folded."""
    bound = 2**63 + 1
    plain, skipping = HashStream(b"x"), HashStream(b"x")
    words = [plain.below(2**64) for _ in range(200)]
    kept = [word for word in words if word < bound]
    assert 60 <= len(kept) <= 140
    assert [skipping.below(bound) for _ in range(len(kept))] == kept


@pytest.mark.parametrize("bound", [0, -1, 2**64 + 1])
def test_stream_refuses_impossible_bounds(bound: int) -> None:
    with pytest.raises(ValueError, match="no uniform integer"):
        HashStream(b"").below(bound)


@given(st.integers(1, 120), st.integers(0, 12), st.integers(1, 9), st.binary(min_size=32, max_size=32))
def test_runs_are_consecutive_and_as_many_as_fit(steps: int, runs: int, run: int, seed: bytes) -> None:
    sample = draw_samples(Digest32(seed), 1, 1, TRAINER, steps=steps, extra=runs * run, run=run)
    between = max(steps - 2, 0)
    blocks = [set(range(1 + start, 1 + min(start + run, between))) for start in range(0, between, run)]
    whole = [block for block in blocks if block <= set(sample)]
    assert set(sample) == {0, steps - 1}.union(*whole)
    assert len(whole) == min(runs, len(blocks))
    assert len(sample) <= min(steps, runs * run + 2)


def test_single_steps_are_runs_of_one() -> None:
    assert draw_samples(SEED, 1, 1, TRAINER, steps=60, extra=7, run=1) == draw_one(SEED, steps=60, extra=7)


def test_every_run_is_drawn_as_often_and_clusters_escape_as_single_steps_do() -> None:
    """60 steps between in runs of 10, two of six drawn: a step is drawn with a third, and so are ten close together."""
    draws = 3_000
    samples = [set(draw_samples(numbered(i), 1, 1, TRAINER, steps=62, extra=20, run=10)) for i in range(draws)]
    for cluster in ({5}, set(range(11, 21)), set(range(31, 36))):
        caught = sum(bool(cluster & sample) for sample in samples) / draws
        assert caught == pytest.approx(1 / 3, abs=0.03)
    spread = {3, 13, 23, 33, 43, 53}
    assert all(spread & sample for sample in samples), "one step in each run is always found"


@pytest.mark.parametrize("run", [0, -1])
def test_a_run_has_a_step(run: int) -> None:
    with pytest.raises(ValueError, match="in runs of"):
        draw_samples(SEED, 1, 1, TRAINER, steps=10, extra=2, run=run)
