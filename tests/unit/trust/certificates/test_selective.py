import math
from fractions import Fraction

import numpy as np
import pytest
from audits import draws, every_draw, every_placement, fallback, pairs, selective_p_values, too_many
from scipy.stats import hypergeom

from textlabel.trust.certificate import Audit
from textlabel.trust.certificates.selective import certify, p_values, prefixes, shares


def accepted(share, grid, max_error, audited, wrong):
    last = fallback(share, selective_p_values(grid, max_error, audited, wrong))
    return np.append(0, grid)[last]


def blank(n, m, expected_error=None):
    return Audit(n, np.arange(m), np.zeros(m, bool), None, expected_error)


def test_the_rule_for_many_draws_is_certify():
    rng = np.random.default_rng(0)
    n, m, max_error, alpha = 200, 80, 0.2, 0.2
    expected = np.linspace(0, 0.5, n)
    audited = draws(n, m, 40, rng)
    wrong = rng.random((40, n)) < np.linspace(0, 0.4, n)
    found = [
        certify(Audit(n, np.flatnonzero(a), w[a], None, expected), max_error, alpha)
        for a, w in zip(audited, wrong, strict=True)
    ]
    grid = prefixes(n, n)
    share = shares(blank(n, m, expected), grid, max_error, alpha)
    assert accepted(share, grid, max_error, audited, wrong).tolist() == [o.accepted for o in found]
    assert len({o.accepted for o in found}) > 5
    assert all(o.allowed == math.floor(Fraction("0.2") * o.accepted) for o in found)


def test_the_p_value_is_the_exact_tail():
    """P of at most w errors among M draws when k + 1 of N are wrong, by counting."""
    size, m, w = 20, 8, 1
    audit = Audit(50, np.append(np.arange(m), 30), np.array([True] * w + [False] * (m - w) + [True]))
    k = 3  # floor(0.19 * 20)
    ways = sum(math.comb(k + 1, i) * math.comb(size - k - 1, m - i) for i in range(w + 1))
    grid = np.array([size])
    assert p_values(audit, grid, 0.19) == pytest.approx(ways / math.comb(size, m), rel=1e-12)
    assert p_values(audit, grid, 0.2) == pytest.approx(hypergeom.cdf(w, size, 5, m), rel=1e-12)  # 4, not 3.99


@pytest.mark.parametrize("n", [4, 6, pytest.param(9, marks=pytest.mark.slow)])
def test_over_all_draws_no_placement_of_errors_breaks_the_promise_too_often(n):
    """Exact, for every m, every placement, any shares, and whichever answers are taken away."""
    rng = np.random.default_rng(n)
    grid = np.arange(1, n + 1)
    tight = 0.0
    for m in range(1, n + 1):
        audited, wrong = pairs(every_draw(n, m), every_placement(n))
        for max_error in (0.0, 0.2, 0.4):
            p = selective_p_values(grid, max_error, audited, wrong)
            for alpha in (0.1, 0.3, 0.6):
                share = rng.dirichlet(np.full(n, 0.3)) * alpha
                broken = too_many(max_error, wrong, np.append(0, grid)[fallback(share, p)])
                worst = broken.mean(axis=1).max()
                assert worst <= alpha + 1e-12
                tight = max(tight, worst / alpha)
    assert tight > 0.6  # not far below, so a mistake in the level would show


def test_missing_answers_never_break_the_promise():
    n, m, max_error, alpha = 6, 4, 0.3, 0.5
    grid, share = np.arange(1, n + 1), np.array([0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    audited, wrong = pairs(every_draw(n, m), every_placement(n))
    full = accepted(share, grid, max_error, audited, wrong)
    broken = np.zeros(full.shape, bool)
    for missing in every_placement(n):
        fewer = accepted(share, grid, max_error, audited, wrong | missing)
        assert (fewer <= full).all()
        broken |= too_many(max_error, wrong, fewer)
    assert broken.mean(axis=1).max() <= alpha  # even if who takes answers away knows everything


def test_a_rejected_prefix_hands_its_level_on_and_a_failed_one_does_not():
    share = [0.02, 0.02, 0.0, 0.01]
    assert fallback(share, np.array([0.02, 0.04, 0.04, 0.05])) == 4
    assert fallback(share, np.array([0.021, 0.04, 0.04, 0.01])) == 4  # starts anew with its own share
    assert fallback(share, np.array([0.021, 0.04, 0.04, 0.011])) == 0


def test_shares_sum_to_alpha_and_do_not_read_the_draw():
    grid = prefixes(3000, 3000)
    expected = np.linspace(0, 0.4, 3000)
    rng = np.random.default_rng(0)
    one, other = (
        Audit(3000, rng.choice(3000, 300, replace=False), rng.random(300) < 0.3, None, expected)
        for _ in range(2)
    )
    share = shares(one, grid, 0.1, 0.05)
    assert share.sum() == pytest.approx(0.05)
    np.testing.assert_array_equal(share, shares(other, grid, 0.1, 0.05))
    assert shares(blank(3000, 300), grid, 0.1, 0.05).sum() == pytest.approx(0.05)


def test_half_of_alpha_is_where_confidence_expects_the_surest_test():
    n, m, max_error, alpha = 4000, 400, 0.1, 0.1
    expected = np.where(np.arange(n) < 2000, 0.02, 0.6)
    share = shares(blank(n, m, expected), prefixes(n, n), max_error, alpha)
    assert prefixes(n, n)[np.argmax(share)] == 2000
    assert share.max() >= alpha / 2


def test_grid_ends_where_the_scope_ends():
    assert prefixes(1000, 1000).tolist() == list(range(25, 1001, 25))
    assert prefixes(1000, 60).tolist() == [25, 50, 60]
    assert prefixes(10, 10).tolist() == list(range(1, 11))
    assert prefixes(10, 0).tolist() == []
    whole = certify(Audit(1000, np.arange(0, 1000, 2), np.zeros(500, bool), 610), 0.1, 0.05)
    assert whole.accepted == 610


def test_too_few_rows_promise_nothing_whatever_the_answers():
    found = certify(Audit(5000, np.arange(20), np.zeros(20, bool)), 0.05, 0.05)
    assert found.accepted == found.allowed == 0
    assert "whatever the answers" in found.reason


def slope(n):
    return np.random.default_rng(5).random(n) < np.linspace(0, 0.3, n)


SCENES = {
    "errors surest": (1000, 300, 0.1, lambda n: np.arange(n) < 150),
    "errors last": (1000, 300, 0.1, lambda n: np.arange(n) >= n - 150),
    "one too many at each prefix": (1000, 300, 0.1, lambda n: np.arange(n) % 9 == 0),
    "just too many from the middle on": (
        1000, 300, 0.1, lambda n: np.isin(np.arange(n), np.r_[0:450:16, 460:1000:6]),
    ),
    "slope": (1000, 300, 0.1, slope),
    "all wrong": (1000, 300, 0.1, lambda n: np.ones(n, bool)),
    "none wrong": (1000, 300, 0.1, lambda n: np.zeros(n, bool)),
    "all tied": (1000, 300, 0.1, None),
    "less than one tolerated": (60, 58, 0.01, lambda n: np.arange(n) == 30),
    "m near n": (200, 190, 0.02, lambda n: np.arange(n) % 40 == 0),
    "tiny": (6, 5, 0.2, lambda n: np.arange(n) % 3 == 0),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("confident", [False, True])
@pytest.mark.parametrize("scene", SCENES)
def test_adversarial_populations_keep_below_alpha(scene, confident):
    n, m, max_error, place = SCENES[scene]
    rng, rounds, alpha = np.random.default_rng(3), 20_000, 0.1
    grid = prefixes(n, n)
    share = shares(blank(n, m, np.linspace(0, 0.1, n) if confident else None), grid, max_error, alpha)
    broken = 0
    for _ in range(10):
        audited = draws(n, m, rounds // 10, rng)
        wrong = (
            draws(n, 101, len(audited), rng) if place is None else np.broadcast_to(place(n), audited.shape)
        )
        broken += too_many(max_error, wrong, accepted(share, grid, max_error, audited, wrong)).sum()
    assert broken / rounds <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / rounds)
