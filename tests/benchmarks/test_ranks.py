"""Average ranks, critical differences and paired intervals against published values and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.shared.ranks import paired, ranked


@pytest.mark.parametrize(("methods", "q"), [(3, 2.343), (4, 2.569), (6, 2.850), (10, 3.164)])
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


def test_paired_interval_is_student_s_over_data_sets_not_over_seeds() -> None:
    found = paired([[1.0, 3.0], [0.0], [], [-1.0, -1.0, -1.0]])
    assert (found.mean, found.sets, found.runs) == (pytest.approx(1 / 3), 3, 6)
    means = np.array([2.0, 0.0, -1.0])
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * means.std(ddof=1) / math.sqrt(3))


def test_one_data_set_has_no_interval_and_none_no_mean() -> None:
    assert paired([[1.0, 2.0]]).half == math.inf
    with pytest.raises(ValueError, match="no difference"):
        paired([[]])
    with pytest.raises(ValueError, match="too few"):
        ranked(np.zeros((1, 5)))
