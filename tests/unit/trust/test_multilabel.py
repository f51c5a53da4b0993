import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from textlabel.errors import BundleError, CorpusError, RecipeError, TrainingError
from textlabel.trust.calibrators import temperature
from textlabel.trust.calibrators.temperature import Temperature
from textlabel.trust.metrics import ece
from textlabel.trust.multilabel import (
    SubsetRule,
    all_right,
    f1_thresholds,
    fit_per_label,
    fit_subsets,
    per_label_from_json,
)


def rows(n, scale, bias, seed=0):
    """Logits of k labels, and answers drawn from ``sigmoid(scale * z + bias)``."""
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, len(scale)))
    return z, (rng.random(z.shape) < 1 / (1 + np.exp(-(z * scale + bias)))).astype(int)


def test_each_label_finds_its_own_numbers():
    scale, bias = np.array([0.4, 1.0, 1.6]), np.array([-1.5, 0.0, 1.0])
    z, y = rows(4000, scale, bias)
    new, _ = rows(300, scale, bias, seed=1)
    p = fit_per_label(z, y).apply(new)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-(new * scale + bias))), atol=0.04)


def test_a_label_agrees_with_platts_logistic_regression():
    z, y = rows(3000, np.array([0.5]), np.array([1.0]))
    platt = LogisticRegression(C=1e9).fit(z, y[:, 0]).predict_proba(z)[:, 1]
    np.testing.assert_allclose(fit_per_label(z, y).apply(z)[:, 0], platt, atol=2e-3)


def test_a_rare_label_takes_the_temperature_that_suits_all_answers():
    z, y = rows(600, np.array([0.5, 1.5, 0.5]), np.array([2.0, -2.0, 0.0]))
    y[:, 2] = 0
    y[:9, 2] = 1
    two_classes = np.stack([np.zeros(z.size), z.ravel()], axis=1)
    first, second, rare = fit_per_label(z, y).labels
    assert rare == temperature.fit(two_classes, y.ravel())
    assert not isinstance(first, Temperature)
    assert not isinstance(second, Temperature)


def test_few_rows_give_no_bias():
    z, y = rows(49, np.array([0.5, 0.5]), np.array([2.0, -2.0]))
    assert all(isinstance(label, Temperature) for label in fit_per_label(z, y).labels)


def test_it_comes_back_from_json():
    z, y = rows(300, np.array([0.5, 1.5]), np.array([1.0, -1.0]))
    fitted = fit_per_label(z, y)
    again = per_label_from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert ((again.apply(1e3 * z) >= 0) & (again.apply(1e3 * z) <= 1)).all()


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (np.zeros((2, 2)), np.zeros((2, 1)), "logits .* of that shape"),
        (np.zeros((2, 2)), np.full((2, 2), 0.5), "0 or 1"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "of that shape"),
    ],
)
def test_bad_input_is_named(z, y, message):
    with pytest.raises(CorpusError, match=message):
        fit_per_label(z, y)


def test_other_errors_are_named():
    with pytest.raises(TrainingError, match="row 1 are not finite"):
        fit_per_label([[0.0], [np.inf]], [[0], [1]])
    with pytest.raises(CorpusError, match=r"groups \(n,\) of 2 rows"):
        fit_per_label([[0.0], [1.0]], [[0], [1]], groups=[0])
    with pytest.raises(BundleError, match="expected calibrators of labels"):
        per_label_from_json({"name": "temperature", "temperature": 1.0})
    with pytest.raises(CorpusError, match=r"expected logits \(n, 1\)"):
        fit_per_label([[0.0], [1.0]], [[0], [1]]).apply(np.zeros((2, 3)))


# --- sets of labels -------------------------------------------------------------------------------


def alike(n, seed=0):
    """Logits whose answers all follow one draw a row, so that a row's answers are right or wrong together."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, 1)) + np.zeros((1, 3))
    return z, (rng.random((n, 1)) < 1 / (1 + np.exp(-z))).astype(int)


def test_a_threshold_of_one_half_makes_the_fewest_wrong_answers():
    z, y = rows(2000, np.array([0.5, 1.5]), np.array([-2.0, 1.0]))
    rule, p = fit_subsets(z, y)
    assert rule.thresholds == (0.5, 0.5)
    wrong = [(((p >= t) != y).mean(), t) for t in np.linspace(0.1, 0.9, 33)]
    assert min(wrong)[1] == pytest.approx(0.5, abs=0.05)


def test_the_f1_threshold_is_the_best_of_all_cuts():
    """Lipton's half of the best F1, against F1 at every cut, expected and on other rows."""
    scale, bias = np.array([1.0]), np.array([-3.0])
    z, y = rows(8000, scale, bias)
    rule, p = fit_subsets(z, y, threshold="f1")
    expected = [(2 * p[p >= t].sum() / ((p >= t).sum() + p.sum()), t) for t in np.unique(p)]
    best, cut = max(expected)
    assert rule.thresholds[0] == pytest.approx(best / 2)
    assert rule.thresholds[0] == pytest.approx(cut, abs=0.005)
    new, truth = rows(8000, scale, bias, seed=1)

    def f1(said):
        return 2 * (said & (truth == 1)).sum() / (said.sum() + truth.sum())

    probabilities = rule.apply(new)
    assert f1(rule.carried(probabilities)) > f1(probabilities >= 0.5) + 0.02


def test_a_label_of_few_answers_keeps_one_half():
    p = np.full((100, 2), 0.2)
    yes = np.arange(100)[:, None] < [9, 10]
    first, second = f1_thresholds(p, yes)
    assert first == 0.5
    assert second < 0.2


def test_confidence_is_that_all_answers_are_right():
    z, y = alike(4000)
    rule, _ = fit_subsets(z, y)
    new, truth = alike(4000, seed=1)
    p = rule.apply(new)
    carried = rule.carried(p)
    right = (carried == truth).all(axis=1)
    assert ece(rule.confidence(p, carried), right) < 0.03
    assert ece(all_right(p, carried), right) > 0.15  # answers are not independent


def test_too_few_rows_tell_nothing_of_whole_sets():
    z, y = np.full((60, 2), 5.0), np.ones((60, 2), int)
    y[:9, 0] = 0
    rule, p = fit_subsets(z, y)
    assert rule.whole is None
    carried = rule.carried(p)
    np.testing.assert_array_equal(rule.confidence(p, carried), all_right(p, carried))


def test_probabilities_of_labels_are_of_calibrators_that_did_not_see_the_row():
    z, y = rows(300, np.array([0.5]), np.array([1.0]))
    rule, p = fit_subsets(z, y)
    assert not np.allclose(p, rule.apply(z), atol=1e-6)
    np.testing.assert_allclose(p, rule.apply(z), atol=0.1)


def test_a_margin_is_the_way_to_the_nearest_threshold():
    rule = SubsetRule(SubsetRule.uncalibrated(2).per_label, (0.5, 0.2))
    np.testing.assert_allclose(rule.margin(np.array([[0.9, 0.3], [0.5, 0.9]])), [0.1, 0.0], atol=1e-12)


def test_a_rule_of_sets_survives_json():
    z, y = rows(300, np.array([0.5, 1.0]), np.array([1.0, 0.0]))
    rule, _ = fit_subsets(z, y, threshold="f1")
    again = SubsetRule.from_json(json.loads(json.dumps(rule.to_json())))
    assert again == rule
    assert rule.whole is not None
    plain = SubsetRule.uncalibrated(2)
    assert plain.to_json()["name"] == "none"
    assert SubsetRule.from_json(plain.to_json()) == plain


def test_what_is_wrong_with_a_rule_is_told():
    with pytest.raises(RecipeError, match="threshold = 'f2' is unknown: known: f1, half"):
        fit_subsets([[1.0]], [[1]], threshold="f2")
    data = SubsetRule.uncalibrated(2).to_json() | {"thresholds": [0.5]}
    with pytest.raises(BundleError, match="a threshold for each of 2 labels"):
        SubsetRule.from_json(data)
