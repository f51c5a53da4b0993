"""Stated class shares: what is read, what the weights do, and what cannot be met."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from textlabel.errors import CorpusError
from textlabel.trust.label_shift import LabelShift, Refused, corrected
from textlabel.trust.stated_shares import read_shares, to_shares

NAMES = ("bad", "so so", "good")


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "stated",
    ["bad=.2, so so = 0.3,good=.5", {"good": 0.5, "bad": 0.2, "so so": 0.3}, "good=.5,bad=.2,so so=.295"],
)
def test_shares_are_read_in_the_order_of_the_classes(stated):
    found = read_shares(stated, NAMES, None)
    np.testing.assert_allclose(found, [0.2, 0.3, 0.5], atol=0.004)
    assert found.sum() == pytest.approx(1)


def test_labeled_stands_for_the_labeled_rows():
    prior = np.array([0.1, 0.2, 0.7])
    np.testing.assert_array_equal(read_shares("labeled", NAMES, prior), prior)
    with pytest.raises(CorpusError, match=r"no labeled row that calibrated it: .* bad=0\.33,so so=0\.33"):
        read_shares("labeled", NAMES, None)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("bad=.2,goood=.8", "no class 'goood': did you mean 'good'"),
        ("bad=.2,good=.8", r"no share of so so: expected one of each class, such as bad=0\.33"),
        ("bad=.2,so so=.3,good=.7", r"sum to 1\.2: expected 1"),
        ("bad=1.2,so so=0,good=0", r"bad = 1\.2: expected a share in \[0, 1\]"),
        ("bad=.5,bad=.5", "two shares of 'bad'"),
        ("bad,good", "'bad': expected NAME=SHARE"),
        ({"bad": "0.5", "so so": 0.25, "good": 0.25}, r"bad = 0\.5: expected a share in"),
        ({}, "no share of bad, so so, good"),
        ("bad=half", "'bad=half': expected NAME=SHARE"),
        ("bad=nan", "'bad=nan': expected NAME=SHARE"),
        ({"bad": float("nan"), "so so": 0.5, "good": 0.5}, r"bad = nan: expected a share in \[0, 1\]"),
    ],
)
def test_what_are_no_shares_is_refused_by_name(stated, message):
    with pytest.raises(CorpusError, match=message):
        read_shares(stated, NAMES, None)


def test_a_name_with_an_equals_sign_is_read():
    np.testing.assert_allclose(read_shares("a=b=0.25", ("a=b", "c"), None), [0.25, 0.75])


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_mean_has_the_shares_and_odds_move_by_one_factor(k, sharpness):
    rng = np.random.default_rng(k)
    p, shares = softmax(sharpness * rng.normal(size=(300, k))), rng.dirichlet(np.full(k, 5.0))
    found = to_shares(p, shares)
    assert isinstance(found, LabelShift)
    after = corrected(p, found.weights)
    np.testing.assert_allclose(after.mean(axis=0), shares, atol=2e-4)
    before, now = (np.log(q[:, 0] / q[:, 1]) for q in (p, after))
    np.testing.assert_allclose(now - before, (now - before)[0], atol=1e-6)


def test_the_weights_are_the_minimum_of_the_convex_dual():
    rng = np.random.default_rng(3)
    p, shares = softmax(2 * rng.normal(size=(400, 4))), np.array([0.1, 0.2, 0.3, 0.4])
    dual = minimize(lambda b: np.log(p @ np.exp(b)).mean() - shares @ b, np.zeros(4), tol=1e-10).x
    found = np.log(to_shares(p, shares).weights)
    np.testing.assert_allclose(found - found.mean(), dual - dual.mean(), atol=5e-3)


@pytest.mark.parametrize("lean", [0.0, 1.5, -2.0])
def test_shares_mend_a_lean_that_label_shift_cannot_tell_from_shares(lean):
    """The corpus is half and half; the model of another domain leans to a class by so many nats."""
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.5
    odds = 2 * (rng.normal(size=len(truth)) + 2 * truth - 1)  # exact for two normals two deviations apart
    p = softmax(np.stack([np.zeros(len(truth)), odds + lean], axis=1))
    after = corrected(p, to_shares(p, [0.5, 0.5]).weights)
    exact = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(after[:, 1], exact, atol=0.02)
    assert np.mean((after[:, 1] > 0.5) == truth) == pytest.approx(0.841, abs=0.01)  # normal cdf of 1
    if lean:
        assert np.mean((p[:, 1] > 0.5) == truth) < 0.81


def test_a_class_that_is_not_there_gets_no_row():
    p = softmax(np.random.default_rng(1).normal(size=(200, 3)))
    after = corrected(p, to_shares(p, [0.5, 0.5, 0.0]).weights)
    assert after[:, 2].max() < 1e-6
    assert not (after.argmax(axis=1) == 2).any()


def test_rows_that_are_sure_of_other_shares_are_refused():
    found = to_shares(np.array([[1.0, 0.0]] * 8 + [[0.0, 1.0]] * 2), [0.5, 0.5])
    assert isinstance(found, Refused)
    assert "class 1 of 2 to 0.800 instead of 0.500" in str(found)
    assert isinstance(to_shares(np.zeros((0, 2)), [0.5, 0.5]), Refused)
