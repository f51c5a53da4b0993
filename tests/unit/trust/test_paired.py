from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from textlabel.errors import CorpusError
from textlabel.trust.exact import binomial_limits
from textlabel.trust.paired import paired_difference


def rows(better, worse, both):
    """Return what two ways have right: ``better`` rows only the first, ``worse`` only the second."""
    one = [True] * better + [False] * worse + [True] * both
    two = [False] * better + [True] * worse + [True] * both
    return one, two


@pytest.mark.parametrize(("better", "worse", "both"), [(20, 5, 75), (12, 4, 4), (5, 20, 75), (8, 7, 100)])
def test_zero_is_excluded_just_where_the_exact_sign_test_says_so(better, worse, both):
    for alpha in (0.05, 0.2, 0.001):
        found = paired_difference(*rows(better, worse, both), alpha)
        sign_test = binomtest(better, better + worse).pvalue < 0.8 * alpha
        assert (found.low > 0 or found.high < 0) == sign_test
        assert found.low <= found.value == pytest.approx((better - worse) / (better + worse + both))
        assert found.value <= found.high


def test_it_is_the_same_the_other_way_round():
    one, two = rows(17, 4, 30)
    there, back = paired_difference(one, two), paired_difference(two, one)
    assert (there.low, there.high, there.better) == (-back.high, -back.low, back.worse)


def test_rows_that_never_differ_bound_the_difference_by_how_rarely_they_may():
    found = paired_difference([True] * 100, [True] * 100)
    assert found.value == 0
    assert found.high == -found.low == pytest.approx(binomial_limits(0, 100, 0.01)[1])


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.1), (0.25, 0.05), (0.02, 0.0)])
def test_the_limits_hold_as_often_as_they_promise(first, second):
    rng = np.random.default_rng(0)
    truth, held = first - second, 0
    for _ in range(400):
        kinds = rng.choice(3, 60, p=[first, second, 1 - first - second])
        found = paired_difference(kinds == 0, kinds == 1, 0.2)
        held += found.low <= truth <= found.high
    assert held / 400 >= 0.8


def test_limits_are_those_of_scipy():
    x, m = np.array([0, 3, 10, 10]), np.array([10, 10, 10, 400])
    low, high = binomial_limits(x, m, 0.05)
    for i in range(4):
        expected = binomtest(int(x[i]), int(m[i])).proportion_ci(0.95, "exact")
        assert (low[i], high[i]) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("right", [([], []), ([True], [True, False])])
def test_rows_must_be_the_same(right):
    with pytest.raises(CorpusError, match="one length"):
        paired_difference(*right)
