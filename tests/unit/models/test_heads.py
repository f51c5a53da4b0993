import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from textlabel.models.heads import logistic_regressions, ridge, softmax_regression


def _data(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * rng.uniform(0.1, 5, d) + rng.normal(size=d)
    return x, rng.integers(0, k, n), rng


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 80)])
@pytest.mark.parametrize("k", [2, 4])
def test_softmax_regression_equals_scikit_learn(n, d, k):
    x, y, _ = _data(n, d, k)
    l2 = 0.05
    [*_, ours] = softmax_regression(x, np.eye(k)[y], np.ones(n), [1.0, l2])
    z = StandardScaler().fit_transform(x)
    # two classes: scikit-learn fits one weight vector, which the symmetric softmax splits in halves
    strength = 1 / (l2 * n) if k > 2 else 2 / (l2 * n)
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(z, y).predict_proba(z)
    logits = ours(x)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(p, theirs, atol=2e-4)


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 80)])
def test_ridge_equals_scikit_learn(n, d):
    x, _, rng = _data(n, d, 2)
    y = x[:, 0] - 2 * x[:, 1] + rng.normal(size=n)
    z = StandardScaler().fit_transform(x)
    theirs = Ridge(alpha=0.3 * n).fit(z, y).predict(z)
    np.testing.assert_allclose(ridge(x, y, [0.3])[0](x)[:, 0], theirs, rtol=1e-6)


def test_row_weights_equal_repeated_rows():
    x, y, _ = _data(40, 5, 3)
    weights = np.where(np.arange(40) < 10, 2.0, 1.0)
    twice = np.concatenate([np.arange(40), np.arange(10)])
    scale = np.ones(5)  # repeated rows would change the standardization, so compare on whitened data
    x = (x - np.average(x, axis=0, weights=weights)) / scale
    x /= np.sqrt(np.average(x**2, axis=0, weights=weights))
    repeated = next(softmax_regression(x[twice], np.eye(3)[y[twice]], np.ones(50), [1e-9]))
    weighted = next(softmax_regression(x, np.eye(3)[y], weights * 40 / 50, [1e-9]))
    np.testing.assert_allclose(repeated(x), weighted(x), atol=2e-3)


def test_constant_feature_gets_no_weight():
    x, y, _ = _data(50, 4, 2)
    x[:, 2] = 7.0
    [head] = softmax_regression(x, np.eye(2)[y], np.ones(50), [0.01])
    np.testing.assert_allclose(head.weight[:, 2], 0, atol=1e-12)
    assert np.isfinite(head.bias).all()


@pytest.mark.parametrize(("level", "noise"), [(0.0, 6e-9), (0.7, 3e-8)])
@pytest.mark.parametrize("n", [50, 500])
def test_rounding_noise_is_no_feature(level, noise, n):
    """A dead dimension of a real backbone varies by fp32 rounding only; around zero, or around a level."""
    x, y, rng = _data(n, 80, 2)
    x[:, 7] = level + noise * rng.normal(size=n)
    [head] = softmax_regression(x, np.eye(2)[y], np.ones(n), [1e-3])
    assert np.abs(head.weight[:, 7]).max() < 1e-12
    [line] = ridge(x, y.astype(float), [1e-3])
    assert abs(line.weight[0, 7]) < 1e-12


def test_soft_targets_are_matched_without_penalty():
    soft = np.array([[0.9, 0.1], [0.2, 0.8]])
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    logits = next(softmax_regression(x, soft, np.ones(2), [1e-7]))(x)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(p, soft, atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 80)])
def test_logistic_regressions_equal_scikit_learn_one_by_one(n, d):
    x, _, rng = _data(n, d, 2)
    answers = (rng.random((n, 4)) < [0.1, 0.3, 0.5, 0.9]).astype(float)
    weights = np.where(answers > 0, [3.0, 2.0, 1.0, 0.5], 1.0)
    l2 = 0.05
    [*_, ours] = logistic_regressions(x, answers, weights, [1.0, l2])
    z = StandardScaler().fit_transform(x)
    for c in range(4):
        model = LogisticRegression(C=1 / (l2 * n), tol=1e-10, max_iter=5000)
        theirs = model.fit(z, answers[:, c], sample_weight=weights[:, c]).predict_proba(z)[:, 1]
        np.testing.assert_allclose(1 / (1 + np.exp(-ours(x)[:, c])), theirs, atol=2e-4)


def test_a_question_that_all_answer_alike_says_so_of_every_row():
    x, _, rng = _data(40, 5, 2)
    answers = np.stack([np.zeros(40), np.ones(40), rng.integers(0, 2, 40)], axis=1)
    [head] = logistic_regressions(x, answers, np.ones((40, 3)), [1e-6])
    assert not head.weight[:2].any()
    np.testing.assert_allclose(head.bias[:2], [-np.log(81), np.log(81)])
    assert head.weight[2].any()
