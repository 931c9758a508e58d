"""The sampled steps: always the ends, never twice the same, nobody's choice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.samples import draw_steps, samples_needed
from protocol.stream import HashStream
from protocol.types import Digest32, address

SEED = Digest32(b"\x05" * 32)
VERIFIER, TRAINER = address(b"\x01" * 20), address(b"\x02" * 20)


@given(st.integers(1, 200), st.integers(0, 250), st.binary(min_size=32, max_size=32))
def test_draw_has_both_ends_and_distinct_steps(steps: int, extra: int, seed: bytes) -> None:
    drawn = draw_steps(Digest32(seed), 1, 1, VERIFIER, TRAINER, steps=steps, extra=extra)
    assert list(drawn) == sorted(set(drawn))
    assert {0, steps - 1} <= set(drawn) <= set(range(steps))
    assert len(drawn) == min(steps, len({0, steps - 1}) + extra)


def test_draw_differs_for_everything_it_depends_on() -> None:
    other = address(b"\x03" * 20)
    draws = {
        draw_steps(seed, task, round_index, verifier, trainer, steps=1000, extra=10)
        for seed in (SEED, Digest32(bytes(32)))
        for task in (1, 2)
        for round_index in (1, 2)
        for verifier in (VERIFIER, other)
        for trainer in (TRAINER, other)
    }
    assert len(draws) == 32


def test_draw_is_uniform_over_the_steps_between() -> None:
    draws = 4000
    seen = Counter(
        step
        for i in range(draws)
        for step in draw_steps(Digest32(i.to_bytes(32, "big")), 1, 1, VERIFIER, TRAINER, steps=12, extra=3)[1:-1]
    )
    expected = draws * 3 / 10
    chi_squared = sum((seen[step] - expected) ** 2 / expected for step in range(1, 11))
    assert set(seen) == set(range(1, 11))
    assert chi_squared < 27.88  # 9 degrees of freedom, p = 0.001; the draws are fixed, so this never flickers


def test_prepared_guess_rarely_covers_the_sample() -> None:
    """Attack: do the sampled steps only, guessing which. Three extra of ten: a guess is right once in 120."""
    hits = sum(
        draw_steps(Digest32(i.to_bytes(32, "big")), 1, 1, VERIFIER, TRAINER, steps=12, extra=3) == (0, 1, 2, 3, 11)
        for i in range(6000)
    )
    assert 25 <= hits <= 80


@pytest.mark.parametrize(("steps", "extra"), [(0, 1), (1, -1)])
def test_draw_refuses_impossible_sizes(steps: int, extra: int) -> None:
    with pytest.raises(ValueError, match="cannot draw"):
        draw_steps(SEED, 1, 1, VERIFIER, TRAINER, steps=steps, extra=extra)


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
