"""Exact limits against enumeration of every possible draw."""

import itertools
from math import comb

import numpy as np
import pytest
from scipy import stats

from textlabel.trust.exact import Counts, at_least, at_most, limits


def _tail(n, successes, m, x):
    """P(Hypergeometric <= x), by counting."""
    ways = [comb(successes, i) * comb(n - successes, m - i) for i in range(max(x, -1) + 1) if m - i >= 0]
    return sum(ways) / comb(n, m)


@pytest.mark.parametrize("alpha", [0.025, 0.2001])
def test_one_sided_limits_are_those_of_counting(alpha):
    cases = [(n, m, x) for n in (1, 2, 7, 15) for m in range(n + 1) for x in range(m + 1)]
    n, m, x = np.array(cases).T
    most, least = at_most(n, m, x, alpha), at_least(n, m, x, alpha)
    for i, (size, drawn, found) in enumerate(cases):
        able = range(found, size - drawn + found + 1)
        assert most[i] == max(K for K in able if _tail(size, K, drawn, found) > alpha)
        above = [K for K in able if _tail(size, size - K, drawn, drawn - found) > alpha]
        assert least[i] == min(above)


def test_large_populations_approach_the_binomial_limit():
    limit = stats.binomtest(4, 200, alternative="less").proportion_ci(0.95, method="exact").high
    assert at_most(10_000_000, 200, 4, 0.05) / 1e7 == pytest.approx(limit, rel=1e-4)


def _every_draw(n, said, false, missed, m):
    """Counts of every possible audit, and the probability of each."""
    cells = (said - false, false, missed, n - said - missed)
    draws = [d for d in itertools.product(*(range(min(c, m) + 1) for c in cells)) if sum(d) == m]
    chance = np.array([np.prod([comb(c, d) for c, d in zip(cells, draw, strict=True)]) for draw in draws])
    right, wrong, miss, _ = np.array(draws).T
    full = np.full(len(draws), 1)
    return Counts(n * full, said * full, m * full, right + wrong, right, miss), chance / comb(n, m)


@pytest.mark.parametrize("m", [1, 4, 9, 12])
def test_each_limit_fails_no_more_often_than_promised_whatever_the_model(m):
    n, alpha = 12, 0.2
    for said in (0, 2, 6, 11):
        for false, missed in itertools.product(range(0, said + 1, 2), range(0, n - said + 1, 2)):
            counts, chance = _every_draw(n, said, false, missed, m)
            least, most = limits(counts, alpha)
            truth = said - false + missed
            assert chance[most < truth].sum() <= alpha / 2
            assert chance[least > truth].sum() <= alpha / 2
            assert (counts.hits + counts.misses <= least).all()
            assert (least <= most).all()


def test_a_good_model_narrows_and_a_useless_one_costs_little():
    one = np.ones(1, dtype=np.int64)
    n, m = 100_000 * one, 300 * one
    alone = [f(n, m, 90 * one, 0.025) for f in (at_least, at_most)]
    good = limits(Counts(n, 30_000 * one, m, 90 * one, 90 * one, 0 * one), 0.05)
    useless = limits(Counts(n, 0 * one, m, 0 * one, 0 * one, 90 * one), 0.05)
    width = (alone[1] - alone[0]).item()
    assert (good[1] - good[0]).item() < 0.3 * width
    assert (useless[1] - useless[0]).item() < 1.2 * width
