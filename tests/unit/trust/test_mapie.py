"""Prediction sets and intervals beside MAPIE's, on the same probabilities, predictions and draws."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from textlabel.trust.intervals import normalized_intervals, quantile_intervals, residual_intervals
from textlabel.trust.sets import aps_misfits, conformal_quantile, lac_misfits, sets_of, true_misfits

mapie_classification = pytest.importorskip("mapie.classification")
mapie_regression = pytest.importorskip("mapie.regression")

ALPHA = 0.1


class Given(ClassifierMixin, BaseEstimator):
    """The features are the probabilities."""

    def __init__(self, k=4):
        self.k = k
        self.classes_ = np.arange(k)
        self.n_features_in_ = k
        self.is_fitted_ = True

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(1)


class Column(RegressorMixin, BaseEstimator):
    """One of the features is the prediction."""

    def __init__(self, column=0):
        self.column = column
        self.n_features_in_ = 3
        self.is_fitted_ = True

    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.asarray(x)[:, self.column]


@pytest.mark.parametrize("kind", ["lac", "aps"])
@pytest.mark.parametrize("n", [10, 39, 200])
def test_sets_agree(kind, n):
    rng = np.random.default_rng(n)
    p = rng.dirichlet([0.6] * 4, n + 300)
    y = (p.cumsum(1) > rng.random(n + 300)[:, None]).argmax(1)
    y[:4] = range(4)
    theirs = mapie_classification.SplitConformalClassifier(
        Given(), confidence_level=1 - ALPHA, conformity_score=kind, random_state=0
    ).conformalize(p[:n], y[:n])
    options = {"conformity_score_params": {"include_last_label": "randomized"}} if kind == "aps" else {}
    expected = theirs.predict_set(p[n:], **options)[1][:, :, 0]

    def misfits(rows):  # MAPIE starts its generator anew for calibration and for prediction
        u = np.random.RandomState(0).uniform(size=len(rows))
        return lac_misfits(rows) if kind == "lac" else aps_misfits(rows, 1 - u)

    q = conformal_quantile(true_misfits(misfits(p[:n]), y[:n]), ALPHA)
    ours = sets_of(p[n:], misfits(p[n:]), q)
    expected[np.arange(300), p[n:].argmax(1)] = True
    np.testing.assert_array_equal(ours, expected)


@pytest.fixture
def regression():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.2, 2.0, 400)
    said = rng.normal(size=400)
    return np.stack([said, said - spread, said + 1.3 * spread], axis=1), said + spread * rng.normal(size=400)


def test_residual_intervals_agree(regression):
    x, y = regression
    theirs = mapie_regression.SplitConformalRegressor(Column(), confidence_level=1 - ALPHA, prefit=True)
    expected = theirs.conformalize(x[:150], y[:150]).predict_interval(x[150:])[1][:, :, 0]
    np.testing.assert_allclose(residual_intervals(y[:150], x[:150, 0], x[150:, 0], ALPHA), expected)


def test_normalized_intervals_agree(regression):
    from mapie.conformity_scores import ResidualNormalisedScore

    x, y = regression
    x = np.abs(x) * [1, 1, 1]  # the last column serves as spread
    x[:, 2] += 0.1
    score = ResidualNormalisedScore(residual_estimator=Column(2), prefit=True, sym=True)
    theirs = mapie_regression.SplitConformalRegressor(
        Column(), confidence_level=1 - ALPHA, conformity_score=score, prefit=True
    )
    expected = theirs.conformalize(x[:150], y[:150]).predict_interval(x[150:])[1][:, :, 0]
    ours = normalized_intervals(y[:150], x[:150, 0], x[:150, 2], x[150:, 0], x[150:, 2], ALPHA)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_quantile_intervals_agree(regression):
    x, y = regression
    theirs = mapie_regression.ConformalizedQuantileRegressor(
        [Column(1), Column(2), Column(0)], confidence_level=1 - ALPHA, prefit=True
    )
    expected = theirs.conformalize(x[:150], y[:150]).predict_interval(x[150:], symmetric_correction=True)[1]
    ours = quantile_intervals(y[:150], x[:150, 1], x[:150, 2], x[150:, 1], x[150:, 2], ALPHA)
    np.testing.assert_allclose(ours, expected[:, :, 0])
