"""When a cheaper model may answer: the threshold is exact, and the promise holds over draws of the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from textlabel.errors import CorpusError
from textlabel.trust.deferral import allowed, deferral_threshold, fewest_rows

MOST, ALPHA = 0.02, 0.1


@pytest.mark.parametrize("most", [0.005, 0.02, 0.3])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("n", [1, 50, 598, 3000])
def test_so_many_differences_refute_a_larger_share_and_one_more_does_not(n, most, alpha):
    found = allowed(n, most, alpha)
    assert found == max((x for x in range(-1, n) if binom.cdf(x, n, most) <= alpha), default=-1)


@pytest.mark.parametrize(("most", "alpha"), [(0.005, 0.05), (0.01, 0.01), (0.2, 0.3)])
def test_fewest_rows_are_enough_and_no_row_too_many(most, alpha):
    n = fewest_rows(most, alpha)
    assert allowed(n, most, alpha) == 0
    assert allowed(n - 1, most, alpha) == -1


def test_the_rows_above_the_threshold_differ_as_often_as_allowed_and_not_once_more():
    rng = np.random.default_rng(0)
    sure, differs = rng.random(4000), rng.random(4000) < 0.1
    threshold = deferral_threshold(sure, differs, MOST, ALPHA)
    room = allowed(4000, MOST, ALPHA)
    assert (differs & (sure > threshold)).sum() == room > 10
    assert (differs & (sure >= threshold)).sum() == room + 1
    order = rng.permutation(4000)
    assert deferral_threshold(sure[order], differs[order], MOST, ALPHA) == threshold


def test_one_that_never_differs_answers_everything_it_may():
    sure = np.append(np.linspace(0.5, 1, 700), np.full(50, -np.inf))
    threshold = deferral_threshold(sure, np.zeros(750, np.bool_))
    assert (sure > threshold).sum() == 700


def test_rows_that_it_must_not_answer_do_not_count_against_it():
    sure, differs = np.append(np.linspace(0.5, 1, 700), np.full(300, -np.inf)), np.arange(1000) >= 700
    assert deferral_threshold(sure, differs) == -np.inf


def test_too_few_rows_allow_nothing():
    assert deferral_threshold(np.ones(597), np.zeros(597, np.bool_)) == math.inf
    assert deferral_threshold([], np.zeros(0, np.bool_)) == math.inf


def test_tied_rows_are_all_answered_or_none():
    """With a difference too many among them it is none."""
    sure, differs = np.repeat([0.9, 0.8, 0.7], 1000), np.zeros(3000, np.bool_)
    room = allowed(3000, MOST, ALPHA)
    differs[1000 : 1000 + room + 1] = True
    assert deferral_threshold(sure, differs, MOST, ALPHA) == 0.8
    differs[1000] = False
    assert deferral_threshold(sure, differs, MOST, ALPHA) == -math.inf


#: how often a row differs, by how sure (uniform in [0, 1]) the cheaper model is, and the sureness above which
#: this happens for exactly the share `MOST` of all rows
KINDS = {
    "the surer the better": (lambda s: 0.4 * (1 - s), 1 - math.sqrt(MOST / 0.2)),
    "says nothing": (lambda s: np.full(len(s), 0.1), 1 - MOST / 0.1),
    "confidently wrong": (lambda s: s**20, (1 - 21 * MOST) ** (1 / 21)),
    "always wrong": (lambda s: np.ones(len(s)), 1 - MOST),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [200, 1000])
def test_the_promise_is_broken_no_more_often_than_it_says(kind, n):
    """And hardly less often, so that no row is sent up for nothing."""
    chance, limit = KINDS[kind]
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(2000):
        sure = rng.random(n)
        broken += deferral_threshold(sure, rng.random(n) < chance(sure), MOST, ALPHA) < limit
    exact = binom.cdf(allowed(n, MOST, ALPHA), n, MOST)
    assert exact <= ALPHA
    assert abs(broken / 2000 - exact) < 4 * math.sqrt(exact * (1 - exact) / 2000)


@pytest.mark.parametrize("levels", [2, 10])
def test_the_promise_holds_where_many_rows_are_equally_sure(levels):
    rng = np.random.default_rng(1)
    steps = np.arange(levels) / levels
    chance = 0.3 * (1 - steps)
    broken = 0
    for _ in range(2000):
        drawn = rng.integers(levels, size=1000)
        threshold = deferral_threshold(steps[drawn], rng.random(1000) < chance[drawn], MOST, ALPHA)
        broken += chance[steps > threshold].sum() / levels > MOST
    assert broken / 2000 < ALPHA + 4 * math.sqrt(ALPHA * (1 - ALPHA) / 2000)


@pytest.mark.parametrize(
    ("sure", "differs", "options", "message"),
    [
        ([0.5], [True, False], {}, "shapes"),
        ([[0.5]], [[True]], {}, "shapes"),
        ([np.nan], [True], {}, "1 that are not numbers"),
        ([0.5], [True], {"most": 0}, "expected shares"),
        ([0.5], [True], {"alpha": 1}, "expected shares"),
    ],
)
def test_what_makes_no_sense_is_refused(sure, differs, options, message):
    with pytest.raises(CorpusError, match=message):
        deferral_threshold(sure, differs, **options)
