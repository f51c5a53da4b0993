from __future__ import annotations

import numpy as np
import pytest

from textlabel.trust.calibration import softmax
from textlabel.trust.moments import fit_moments
from textlabel.trust.variance import margin_variance, temper

N = 4000


@pytest.fixture
def inverse():
    """Distances of new rows from N others, and their leverage by a direct inverse, with an intercept."""
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(2, N, 6)) @ (np.eye(6) + 0.3 * rng.normal(size=(6, 6))) + rng.normal(size=6)
    design, q = np.c_[np.ones(N), x], np.c_[np.ones(N), new]
    known = fit_moments(x, rng.integers(0, 2, N), 2)
    return known.bulk(new), ((q @ np.linalg.inv(design.T @ design)) * q).sum(axis=1)


def test_one_and_the_distance_over_n_is_the_leverage_of_a_regression(inverse):
    distances, leverage = inverse
    # the covariance is shrunk a little, which a regression is not
    np.testing.assert_allclose((1 + distances) / N, leverage, rtol=0.02)


def test_the_variance_is_that_of_the_hessian_where_all_rows_are_curved_alike(inverse):
    """Two classes of probability 1/2: the margin's Hessian is p (1 - p) X'X where nothing is penalized."""
    distances, leverage = inverse
    found = margin_variance(np.full((N, 2), 0.5)) * (1 + distances)
    np.testing.assert_allclose(found, leverage / 0.25, rtol=0.02)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_curvature_is_the_mean_eigenvalue_of_the_logits_hessian(k):
    p = softmax(np.random.default_rng(0).normal(size=(50, k)))
    hessians = [np.diag(row) - np.outer(row, row) for row in p]
    total = sum(np.linalg.eigvalsh(h)[1:].mean() for h in hessians)  # the first is 0: a shift of all logits
    assert margin_variance(p) == pytest.approx(2 / (total + 1 / k))


def test_a_draw_of_heads_varies_as_much_as_is_told():
    """Heads fitted to labels drawn anew for the same rows: the spread of their margins, row by row."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 8)) * np.linspace(0.5, 2, 8)
    p = 1 / (1 + np.exp(-0.3 * x[:, 0]))
    margins = []
    for _ in range(150):
        head = LogisticRegression(C=1e6).fit(x, rng.random(600) < p)
        margins.append(head.decision_function(x))
    told = margin_variance(np.c_[1 - p, p]) * (1 + fit_moments(x, np.zeros(600, int), 1).bulk(x))
    measured = np.var(margins, axis=0)
    assert np.corrcoef(told, measured)[0, 1] > 0.9
    assert measured.mean() == pytest.approx(told.mean(), rel=0.15)


@pytest.mark.parametrize("k", [2, 4])
def test_further_rows_are_less_sure_and_keep_their_label(k):
    p = softmax(2 * np.random.default_rng(0).normal(size=(1, k)))
    softer = temper(np.repeat(p, 20, axis=0), np.linspace(0, 500, 20), 0.05)
    assert (np.diff(softer.max(axis=1)) < 0).all()
    assert (softer.argmax(axis=1) == p.argmax()).all()
    np.testing.assert_allclose(softer.sum(axis=1), 1)
    assert softer.max(axis=1)[-1] > 1 / k


def test_at_one_distance_the_order_stays():
    p = softmax(np.random.default_rng(0).normal(size=(200, 2)))
    softer = temper(p, np.full(200, 30.0), 0.1)
    np.testing.assert_array_equal(np.argsort(softer.max(axis=1)), np.argsort(p.max(axis=1)))


def test_the_formula_is_that_of_the_paper():
    """The mean of a sigmoid over a normal margin, by quadrature: the formula is within a point."""
    mean, variance = 1.7, 2.4
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    exact = weights @ (1 / (1 + np.exp(-(mean + np.sqrt(variance) * nodes)))) / weights.sum()
    p = softmax(np.array([[0.0, mean]]))
    assert temper(p, [0.0], variance)[0, 1] == pytest.approx(exact, abs=0.01)
    assert p[0, 1] - exact > 0.05


def test_certain_rows_stay_certain_and_finite():
    certain = np.array([[1.0, 0.0, 0.0]] * 5)
    assert np.isfinite(margin_variance(certain))
    assert temper(certain, np.full(5, 100.0), 2.0)[:, 0] == pytest.approx(1.0)
