"""Bias-corrected temperature, vector scaling and beta calibration: what their fits must find."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from textlabel.errors import BundleError
from textlabel.trust.calibration import from_json, softmax
from textlabel.trust.calibrators import beta, bias_corrected, temperature, vector


def drawn(logits, rng):
    return (softmax(logits).cumsum(1) > rng.random(len(logits))[:, None]).argmax(1)


def test_temperature_and_biases_of_a_simulated_model_are_recovered():
    rng = np.random.default_rng(0)
    z, bias = 3 * rng.normal(size=(30_000, 3)), np.array([0.6, 0.0, -0.6])
    fitted = bias_corrected.fit(z, drawn(z / 1.8 + bias, rng))
    assert fitted.temperature == pytest.approx(1.8, rel=0.04)
    np.testing.assert_allclose(fitted.bias, bias, atol=0.05)
    assert sum(fitted.bias) == pytest.approx(0, abs=1e-5)


def test_scales_and_biases_of_a_simulated_model_are_recovered():
    rng = np.random.default_rng(1)
    z = 3 * rng.normal(size=(30_000, 3))
    scale, bias = np.array([0.5, 1.0, 0.7]), np.array([0.6, 0.0, -0.6])
    fitted = vector.fit(z, drawn((z - z.mean(1, keepdims=True)) * scale + bias, rng))
    np.testing.assert_allclose(fitted.scale, scale, rtol=0.06)
    np.testing.assert_allclose(fitted.bias, bias, atol=0.05)


@pytest.mark.parametrize("plugin", [vector, bias_corrected, temperature])
def test_a_constant_added_to_a_row_changes_nothing(plugin):
    rng = np.random.default_rng(2)
    z = 3 * rng.normal(size=(500, 3))
    fitted = plugin.fit(z, drawn(z, rng))
    np.testing.assert_allclose(fitted.apply(z + 7 * rng.normal(size=(500, 1))), fitted.apply(z), atol=1e-9)


def _platt(features, y):
    return LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(features, y).predict_proba


def test_two_classes_agree_with_logistic_regression():
    rng = np.random.default_rng(3)
    z = 2 * rng.normal(size=(8000, 2))
    y = drawn(z * 0.7 + [0.0, 0.5], rng)
    margin = (z[:, 1] - z[:, 0])[:, None]
    np.testing.assert_allclose(bias_corrected.fit(z, y).apply(z), _platt(margin, y)(margin), atol=2e-3)


@pytest.mark.parametrize("k", [2, 3])
def test_beta_agrees_with_logistic_regression_on_its_two_features(k):
    rng = np.random.default_rng(4)
    z = 2 * rng.normal(size=(8000, k))
    y = drawn(0.6 * z + 0.4 * np.eye(k)[0], rng)
    p = softmax(z)
    columns = []
    for c in range(k):
        features = np.stack([np.log(p[:, c]), -np.log(1 - p[:, c])], axis=1)
        columns.append(_platt(features, y == c)(features)[:, 1])
    expected = np.stack(columns, axis=1)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(beta.fit(z, y).apply(z), expected, atol=3e-3)


@pytest.mark.parametrize("shared", [True, False])
def test_the_penalized_loss_is_least_at_the_fit(shared):
    """The loss as its docstring has it, written out, and moved by hand in every direction."""
    from textlabel.trust.fitting import fit_affine

    rng = np.random.default_rng(5)
    z, w = rng.normal(size=(40, 3)), rng.random(40)
    y = drawn(2 * z, rng)

    def loss(scale, bias):
        p = softmax(z * scale + bias)[np.arange(40), y]
        return -(w @ np.log(p)) + np.sum(scale - np.log(scale)) + np.sum(bias**2) / 2

    scale, bias = fit_affine(z, y, w, shared=shared)
    least = loss(scale, bias)
    for _ in range(100):
        step = 1e-2 * rng.normal(size=len(scale) + 3)
        assert loss(scale + step[: len(scale)], bias + step[len(scale) :]) > least


@pytest.mark.parametrize("plugin", [bias_corrected, vector, beta])
def test_a_class_without_a_row_becomes_rare_but_not_impossible(plugin):
    z = np.random.default_rng(6).normal(size=(300, 3))
    p = plugin.fit(z, z[:, :2].argmax(1)).apply(z)
    assert 1e-6 < p[:, 2].mean() < 0.03


def test_biases_correct_class_frequencies_and_so_move_labels():
    """A model that learned even classes meets one class in ten: the prior correction pays in accuracy."""
    rng = np.random.default_rng(7)
    y = (rng.random(4000) < 0.1).astype(int)
    z = np.stack([np.zeros(4000), rng.normal(size=4000) * 2 + 4 * y - 2], axis=1)  # its log-odds, even prior
    fitted = bias_corrected.fit(z[:2000], y[:2000])
    said = fitted.apply(z[2000:]).argmax(1)
    assert fitted.bias[1] - fitted.bias[0] == pytest.approx(np.log(1 / 9), abs=0.35)
    assert np.mean(said == y[2000:]) > np.mean(z[2000:].argmax(1) == y[2000:]) + 0.05


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(BundleError, match="as many scales as biases"):
        from_json({"name": "vector", "scale": [1.0], "bias": [0.0, 0.0]})
    with pytest.raises(BundleError, match="as many numbers a, b and c"):
        from_json({"name": "beta", "a": [1.0], "b": [1.0, 1.0], "c": [0.0]})
