import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from textlabel.errors import BundleError, CorpusError, TrainingError
from textlabel.trust.calibrators import temperature
from textlabel.trust.calibrators.temperature import Temperature
from textlabel.trust.multilabel import fit_per_label, per_label_from_json


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
