import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from audits import (
    draws,
    every_draw,
    every_placement,
    finish_accepted,
    finish_errors_allowed,
    finish_walk,
    pairs,
    wrong_labels_left,
)

from textlabel.trust.certificate import Audit, tolerated
from textlabel.trust.certificates.finish import certify, errors_allowed, least_rows, tail


def outcome(n, ranks, wrong, max_error=0.1, alpha=0.2):
    return certify(Audit(n, np.array(ranks, int), np.array(wrong, bool)), max_error, alpha)


def test_equals_a_walk_down_the_order_on_every_draw():
    rng = np.random.default_rng(0)
    for _ in range(150):
        n = int(rng.integers(1, 40))
        m = int(rng.integers(0, n + 1))
        ranks = rng.choice(n, m, replace=False)
        wrong = rng.random(m) < rng.choice([0.0, 0.1, 0.3, 1.0])
        max_error, alpha = float(rng.choice([0.0, 0.05, 0.1, 0.25])), float(rng.choice([0.05, 0.1, 0.3]))
        found = outcome(n, ranks, wrong, max_error, alpha)
        assert found.accepted == finish_walk(n, ranks, wrong, max_error, alpha)
        assert found.allowed == math.floor(Fraction(str(max_error)) * n)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 37])
@pytest.mark.parametrize("max_error", [0.0, 0.05, 0.3])
def test_errors_allowed_and_least_rows_are_those_of_the_definition(n, max_error):
    k = tolerated(max_error, n)
    for alpha in (0.05, 0.25):
        exact = [finish_errors_allowed(n, m, max_error, alpha) for m in range(n + 1)]
        assert [errors_allowed(n, m, k, alpha) for m in range(n + 1)] == exact
        assert least_rows(n, k, alpha) == next(m for m in range(n + 1) if exact[m] >= 0)


def test_a_tail_of_exactly_alpha_is_small_enough():
    assert tail(100, 95, 0, 0) == pytest.approx(0.05, abs=1e-15)
    assert errors_allowed(100, 95, 0, 0.05) == 0
    assert errors_allowed(100, 94, 0, 0.05) == -1


def test_the_tail_rises_with_the_errors_allowed():
    tails = [tail(300, 120, 15, c) for c in range(121)]
    assert all(a <= b for a, b in itertools.pairwise(tails))
    assert tails[-1] == 1.0


@pytest.mark.parametrize("n", [3, 5, 8, pytest.param(10, marks=pytest.mark.slow)])
def test_over_all_draws_no_placement_of_errors_breaks_the_promise_too_often(n):
    """Exact, not simulated: every one of the 2**n placements, every draw, every m."""
    for m, max_error, alpha in itertools.product(range(n + 1), (0.0, 0.1, 0.25, 0.4), (0.05, 0.2, 0.5)):
        k = tolerated(max_error, n)
        c = errors_allowed(n, m, k, alpha)
        if c < 0:
            continue
        audited, wrong = pairs(every_draw(n, m), every_placement(n))
        left = wrong_labels_left(audited, wrong, finish_accepted(c, audited, wrong))
        worst = np.mean(left > k, axis=1).max()
        assert worst <= alpha
        assert worst == pytest.approx(tail(n, m, k, c), abs=1e-12)  # and the bound is attained


def test_a_larger_c_would_break_it():
    n, m, k, alpha = 10, 6, 1, 0.2
    c = errors_allowed(n, m, k, alpha) + 1
    audited, wrong = pairs(every_draw(n, m), every_placement(n))
    left = wrong_labels_left(audited, wrong, finish_accepted(c, audited, wrong))
    assert np.mean(left > k, axis=1).max() > alpha


def test_the_rule_for_many_draws_is_certify():
    rng = np.random.default_rng(1)
    n, m, max_error, alpha = 60, 30, 0.1, 0.2
    audited = draws(n, m, 50, rng)
    wrong = rng.random((50, n)) < 0.2
    c = errors_allowed(n, m, tolerated(max_error, n), alpha)
    found = [
        outcome(n, np.flatnonzero(a), w[a], max_error, alpha).accepted
        for a, w in zip(audited, wrong, strict=True)
    ]
    assert finish_accepted(c, audited, wrong).tolist() == found
    assert len(set(found)) > 5


def test_the_row_of_the_deciding_error_is_not_accepted():
    c = errors_allowed(100, 60, 10, 0.2)
    ranks = np.arange(60)
    wrong = ranks >= 10
    accepted = outcome(100, ranks, wrong).accepted
    assert accepted == 10 + c  # strictly before the (c + 1)-th audited error, which is at rank 10 + c


def test_tolerates_the_floor_of_the_share():
    assert outcome(99, range(60), [False] * 60).allowed == 9
    assert outcome(9, range(9), [False] * 9).allowed == 0  # eps * n < 1: not one wrong label


def test_too_few_rows_say_how_many_are_needed():
    few = outcome(10_000, range(58), [False] * 58, 0.05, 0.05)
    assert (few.accepted, few.bound) == (0, 0.0)
    assert "58 audited rows cannot bear this promise, 59 are the least" in few.reason


def test_missing_answers_never_break_the_promise():
    """Whoever takes answers away, knowing everything, only ever lowers the number of wrong labels."""
    n, m, max_error, alpha = 7, 4, 0.15, 0.5
    k = tolerated(max_error, n)
    c = errors_allowed(n, m, k, alpha)
    audited, wrong = pairs(every_draw(n, m), every_placement(n))
    accepted = finish_accepted(c, audited, wrong)
    left = wrong_labels_left(audited, wrong, accepted)
    for missing in every_placement(n):
        fewer = finish_accepted(c, audited, wrong | missing)
        assert (fewer <= accepted).all()
        assert (wrong_labels_left(audited, wrong, fewer) <= left).all()


SCENES = {
    "errors surest": (2000, 300, 0.05, lambda n: np.arange(n) < 400),
    "errors last": (2000, 300, 0.05, lambda n: np.arange(n) >= n - 400),
    "just too many, surest": (2000, 300, 0.05, lambda n: np.arange(n) < 108),
    "all wrong": (2000, 300, 0.05, lambda n: np.ones(n, bool)),
    "none wrong": (2000, 300, 0.05, lambda n: np.zeros(n, bool)),
    "every third": (600, 200, 0.1, lambda n: np.arange(n) % 3 == 0),
    "less than one tolerated": (60, 58, 0.01, lambda n: np.arange(n) < 5),
    "m near n": (200, 190, 0.02, lambda n: np.arange(n) < 50),
    "tiny": (6, 5, 0.2, lambda n: np.arange(n) < 3),
    "all tied": (2000, 300, 0.05, None),
    "too few audited": (2000, 40, 0.05, lambda n: np.ones(n, bool)),
}


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_adversarial_populations_keep_to_the_exact_tail(scene):
    n, m, max_error, place = SCENES[scene]
    rng, rounds, alpha = np.random.default_rng(7), 20_000, 0.05
    k = tolerated(max_error, n)
    c = errors_allowed(n, m, k, alpha)
    bound = tail(n, m, k, c) if c >= 0 else 0.0
    broken = 0
    for _ in range(10):
        audited = draws(n, m, rounds // 10, rng)
        # rows that are all tied are in random order, another one in every sealed corpus
        wrong = (
            draws(n, 300, len(audited), rng) if place is None else np.broadcast_to(place(n), audited.shape)
        )
        broken += np.sum(wrong_labels_left(audited, wrong, finish_accepted(c, audited, wrong)) > k)
    assert broken / rounds <= bound + 3 * math.sqrt(bound * (1 - bound) / rounds)
    assert bound <= alpha
