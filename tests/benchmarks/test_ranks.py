"""Average ranks, critical differences and paired intervals against published values and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.shared.ranks import counted, holm, paired, ranked, sets_needed


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (6, 2.850), (10, 3.164)])
def test_critical_difference_is_the_paper_s(methods: int, q: float) -> None:
    """Table 5 (a): critical values of the two-tailed Nemenyi test at 0.05."""
    found = ranked(np.random.default_rng(0).random((14, methods)))
    assert found.critical == pytest.approx(q * math.sqrt(methods * (methods + 1) / (6 * 14)), rel=1e-3)


def test_ranks_share_ties_and_friedman_is_scipy_s() -> None:
    quality = np.array([[0.9, 0.8, 0.8], [0.7, 0.9, 0.1], [0.9, 0.5, 0.4], [0.8, 0.7, 0.6]])
    found = ranked(quality)
    assert found.average.tolist() == [1.25, 1.875, 2.875]
    untied = quality + np.array([0.0, 1e-6, 0.0])
    chi = float(stats.friedmanchisquare(*untied.T).statistic)
    assert ranked(untied).p_value == pytest.approx(stats.f.sf(3 * chi / (4 * 2 - chi), 2, 6))


def test_friedman_is_corrected_for_ties_as_scipy_does() -> None:
    quality = np.random.default_rng(1).integers(0, 3, size=(12, 5)).astype(np.float64)
    chi = float(stats.friedmanchisquare(*quality.T).statistic)
    assert ranked(quality).p_value == pytest.approx(stats.f.sf(11 * chi / (12 * 4 - chi), 4, 44))
    assert ranked(np.ones((3, 4))).p_value == 1.0, "nothing to tell apart"


def test_means_that_differ_by_rounding_alone_share_a_rank() -> None:
    same = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
    assert same[0] != same[1]
    assert ranked(np.array([[*same, 0.9], [*same, 0.1]])).average.tolist() == [2.0, 2.0, 2.0]


def test_paired_interval_is_student_s_over_data_sets_not_over_seeds() -> None:
    found = paired([[1.0, 3.0], [0.0], [], [-1.0, -1.0, -1.0]])
    assert (found.mean, found.sets, found.runs) == (pytest.approx(1 / 3), 3, 6)
    means = np.array([2.0, 0.0, -1.0])
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * means.std(ddof=1) / math.sqrt(3))
    assert found.spread == pytest.approx(means.std(ddof=1))
    assert found.p_value == pytest.approx(stats.ttest_1samp(means, 0.0).pvalue)


def test_one_data_set_has_no_interval_and_none_no_mean() -> None:
    single = paired([[1.0, 2.0]])
    assert (single.half, single.spread, single.p_value) == (math.inf, math.inf, 1.0)
    with pytest.raises(ValueError, match="no difference"):
        paired([[]])
    with pytest.raises(ValueError, match="too few"):
        ranked(np.zeros((1, 5)))


def test_wilcoxon_counts_ties_and_is_exact_where_there_are_none() -> None:
    found = counted([0.3, -0.1, 0.2, 0.4, 0.5, 0.6])
    assert (found.wins, found.ties, found.losses) == (5, 0, 1)
    assert found.p_value == pytest.approx(4 / 2**6), "rank 1 of six alone is negative: 2 of 64 signs on either side"
    tied = counted([0.3, 0.1 + 0.2 - 0.3, -0.1])
    assert (tied.wins, tied.ties, tied.losses) == (1, 1, 1)
    assert counted([0.0, 0.0]).p_value == 1.0
    with pytest.raises(ValueError, match="no difference"):
        counted([])


def test_holm_corrects_by_the_number_that_is_left_and_never_falls() -> None:
    """Worked example: 0.01 x 4, 0.02 x 3, 0.03 x 2 lifted to the one before, 0.04 x 1 too."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_so_many_data_sets_exclude_a_loss_as_often_as_asked() -> None:
    size = sets_needed(1.0, 0.5)
    drawn = np.random.default_rng(0).normal(size=(20_000, size))
    lower = drawn.mean(1) - stats.t.ppf(0.975, size - 1) * drawn.std(1, ddof=1) / math.sqrt(size)
    assert (lower > -0.5).mean() == pytest.approx(0.8, abs=0.02)
    assert sets_needed(2.0, 0.5) > 3 * size
    assert sets_needed(0.0, 0.5) == 2
    with pytest.raises(ValueError, match="no number"):
        sets_needed(math.inf, 0.5)
