"""The equal search for learning rates."""

from __future__ import annotations

import math

import pytest

from benchmarks.shared.rate_search import best_rate


@pytest.mark.parametrize(
    ("best", "found", "trials"),
    [
        (0.004, 0.004, 5),
        (0.008, 0.008, 5),
        (0.016, 0.016, 6),  # the edge of the first three: the next one beyond is tried
        (1.0, 0.256 * 2, 7),  # five coarse trials at most, then one finer
        (1e-6, 0.004 / 4**3 / 2, 7),
    ],
)
def test_search_finds_the_best_rate_within_its_trials(best: float, found: float, trials: int) -> None:
    tried: list[float] = []

    def loss(rate: float) -> float:
        tried.append(rate)
        return abs(math.log2(rate / best))

    assert best_rate(0.004, loss) == pytest.approx(found)
    assert len(tried) == len(set(tried)) == trials


def test_search_passes_over_rates_at_which_training_diverges() -> None:
    assert best_rate(0.004, lambda rate: math.inf if rate > 0.004 else 1 / rate) == 0.004
