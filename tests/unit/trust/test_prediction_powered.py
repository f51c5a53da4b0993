"""The estimate against ppi_py, at the same rows, and its variance against simulation."""

import numpy as np
import ppi_py
import pytest
from scipy import stats

from textlabel.trust.prediction_powered import normal_interval

ALPHA = 0.1


def _source(rng, n, kind):
    if kind == "score":
        y = rng.gamma(2.0, size=n)
        return y, y + rng.normal(scale=0.7, size=n)
    y = (rng.random(n) < 0.3).astype(float)
    return y, np.where(rng.random(n) < 0.85, y, 1 - y)


@pytest.mark.parametrize("kind", ["score", "class"])
def test_estimate_and_width_for_the_source_are_those_of_ppi_py(kind):
    rng = np.random.default_rng(4)
    n, m = 20_000, 2_000
    y, f = _source(rng, n, kind)
    drawn = rng.permutation(n) < m
    ours = normal_interval(f.mean(), f[drawn], y[drawn], np.ones(m), n, ALPHA, beyond=True)
    low, high = (v.item() for v in ppi_py.ppi_mean_ci(y[drawn], f[drawn], f[~drawn], alpha=ALPHA))
    assert ours[0].item() == pytest.approx((low + high) / 2, abs=0.02 * (high - low))
    assert ours[1].item() == pytest.approx((high - low) / 2, rel=0.01)


def test_at_the_same_tuning_the_estimates_are_one():
    rng = np.random.default_rng(5)
    n, m = 900, 300
    y, f = _source(rng, n, "score")
    drawn = rng.permutation(n) < m
    ours = normal_interval(f.mean(), f[drawn], y[drawn], np.ones(m), n, ALPHA)[0].item()
    tuned = np.cov(f[drawn], y[drawn])[0, 1] / np.var(f[drawn], ddof=1)
    theirs = ppi_py.ppi_mean_pointestimate(y[drawn], f[drawn], f[~drawn], lam=(1 - m / n) * tuned)
    assert ours == pytest.approx(theirs.item())


def test_the_variance_is_that_over_draws_from_a_finite_corpus():
    rng = np.random.default_rng(6)
    n, m, repeats = 400, 200, 3_000
    y, f = _source(rng, n, "score")
    rows = np.argsort(rng.random((repeats, n)), axis=1)[:, :m]
    found = [normal_interval(f.mean(), f[r], y[r], np.ones(m), n, ALPHA) for r in rows[:300]]
    reach = np.mean([reach for _, reach, _ in found])
    slope = np.cov(f, y)[0, 1] / np.var(f, ddof=1)
    spread = np.std(f.mean() * slope + (y - slope * f)[rows].mean(axis=1))
    # half of the corpus is seen: without the correction the reach would be 1.41 times this
    assert reach == pytest.approx(stats.t.ppf(1 - ALPHA / 2, m - 2) * spread, rel=0.05)


def test_classes_are_the_post_stratified_estimate():
    cells = {"f": [1, 1, 0, 0], "y": [1, 0, 1, 0], "weight": [45, 15, 10, 30]}
    estimate = normal_interval(0.5, **cells, n=1_000, alpha=ALPHA)[0].item()
    assert estimate == pytest.approx(0.5 * 45 / 60 + 0.5 * 10 / 40)


@pytest.mark.parametrize(
    ("f", "y"),
    [
        (np.arange(50.0), np.arange(50.0)),  # never wrong
        (np.arange(50.0) / 7, np.arange(50.0) / 7 + 0.1),  # wrong by rounding only, once shifted
        (np.arange(50.0) % 2, (np.arange(50.0) % 2) + (np.arange(50.0) == 3)),  # wrong once
        (np.zeros(2), np.arange(2.0)),  # two rows
        (np.arange(50.0), np.ones(50)),  # one answer only
    ],
)
def test_too_few_errors_have_no_normal_interval(f, y):
    assert not normal_interval(f.mean(), f, y, np.ones(len(f)), 1_000, 0.05)[2].item()


def test_no_answers_no_estimate():
    estimate, _, enough = normal_interval(0.5, [], [], [], 100, 0.05)
    assert np.isnan(estimate.item())
    assert not enough.item()


def test_a_harmful_model_is_left_aside():
    y = np.tile([0.0, 1.0], 100)
    assert normal_interval(0.9, 1 - y, y, np.ones(200), 1_000, 0.05)[0].item() == pytest.approx(0.5)
