"""The sampling promise against exact counting."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltaproof.protocol.draws.samples import samples_needed
from deltaproof.replaying.sampling_promise import detection_probability, stake_for


@given(st.floats(0.001, 0.9), st.floats(0.01, 0.9999), st.integers(50, 3000))
def test_promise_is_kept_without_repetition(fraction: float, probability: float, steps: int) -> None:
    corrupted = -int(-fraction * steps // 1)
    assert detection_probability(steps, corrupted, samples_needed(fraction, probability)) >= probability - 1e-12


def test_probability_matches_enumeration() -> None:
    for corrupted in range(7):
        draws = list(combinations(range(6), 2))
        hit = sum(any(step < corrupted for step in draw) for draw in draws)
        assert detection_probability(6, corrupted, 2) == pytest.approx(hit / len(draws))


def test_one_bad_step_escapes_with_one_minus_k_over_n() -> None:
    assert detection_probability(1000, 1, 90) == pytest.approx(0.09)


@given(st.integers(1, 10**12), st.floats(0.01, 1.0), st.integers(1, 10_000))
def test_stake_makes_cheating_a_losing_bet(gain: int, detection: float, slash_bps: int) -> None:
    stake = stake_for(gain, detection, slash_bps)
    slashed = stake * slash_bps / 10_000
    assert detection * slashed >= (1 - detection) * gain * (1 - 1e-9)
