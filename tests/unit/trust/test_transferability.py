from __future__ import annotations

import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.transferability import h_score, leep, logme, nce


def task(n=60, d=10, k=3, signal=1.0, seed=0):
    """Return features whose first columns tell the class, and the classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    x = rng.normal(size=(n, d))
    x[:, :k] += signal * np.eye(k)[y]
    return x, y


def dense_evidence(x, y):
    """The evidence a row, maximized over both precisions with dense covariances, one class after another."""
    from scipy.optimize import minimize

    found, gram, n = [], x @ x.T, len(x)
    for c in np.unique(y):
        target = (y == c).astype(float)

        def loss(logs, target=target):
            covariance = np.exp(-logs[1]) * np.eye(n) + np.exp(-logs[0]) * gram
            fit = target @ np.linalg.solve(covariance, target)
            return (np.linalg.slogdet(covariance)[1] + fit + n * np.log(2 * np.pi)) / 2 / n

        starts = ([0, 0], [3, 1])
        found.append(-min(minimize(loss, start, method="BFGS").fun for start in starts))
    return np.mean(found)


# --- LogME ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(40, 6), (20, 45)])  # n < d is where naive ones fail
def test_logme_is_the_maximal_evidence(n, d):
    x, y = task(n, d)
    assert logme(x, y) == pytest.approx(dense_evidence(x, y), abs=1e-5)


def test_logme_ranks_features_by_what_they_tell():
    scores = [logme(*task(signal=signal)) for signal in (0.0, 1.0, 2.0, 4.0)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] - 0.5


def test_logme_knows_neither_the_scale_nor_empty_columns():
    """So features of other widths compare: a column that is always 0 costs nothing."""
    x, y = task()
    assert logme(1000 * x, y) == pytest.approx(logme(x, y), abs=1e-9)
    assert logme(np.hstack([x, np.zeros((len(x), 700))]), y) == pytest.approx(logme(x, y), abs=1e-9)


def test_logme_charges_for_columns_that_tell_nothing():
    """Noise of n columns fits any labels exactly: that must not look like knowledge."""
    x, y = task(40, 8, signal=2.0)
    noise = np.random.default_rng(1).normal(size=(40, 400))
    assert np.isfinite(logme(noise, y))
    assert logme(noise, y) < logme(x, y) - 0.3


def test_logme_of_labels_that_features_tell_exactly_is_finite():
    y = np.arange(20) % 2
    exact = np.eye(2)[y]
    assert np.isfinite(logme(exact, y))
    assert logme(exact, y) == pytest.approx(logme(7 * exact, y), abs=1e-5)
    x, _ = task(20, 6, 2)
    assert logme(exact, y) > logme(x, y)
    assert np.isfinite(logme(np.zeros((20, 3)), y))


def test_logme_leaves_out_classes_without_rows():
    x, y = task()
    assert logme(x, np.array([0, 2, 7])[y]) == logme(x, y)


# --- H-score --------------------------------------------------------------------------------------


def dense_h_score(x, y):
    """The formula with its covariances by loops, Ledoit-Wolf's shrinkage by its definition."""
    n, d = x.shape
    x = x - x.mean(axis=0)
    sample = sum(np.outer(row, row) for row in x) / n
    between = sum((y == c).mean() * np.outer(*[x[y == c].mean(axis=0)] * 2) for c in set(y.tolist()))
    sphere = np.trace(sample) / d * np.eye(d)
    spread = np.sum((sample - sphere) ** 2)
    noise = sum(np.sum((np.outer(row, row) - sample) ** 2) for row in x) / n**2
    s = min(noise, spread) / spread
    return (1 - s) * np.trace(np.linalg.inv((1 - s) * sample + s * sphere) @ between)


@pytest.mark.parametrize(("n", "d"), [(60, 6), (20, 45)])
def test_h_score_is_the_dense_formula(n, d):
    x, y = task(n, d, signal=3.0)
    assert h_score(x, y) == pytest.approx(dense_h_score(x, y), abs=1e-8)


def test_h_score_of_fewer_rows_than_columns_is_not_its_bound():
    x, y = task(30, 200, signal=0.0)
    assert h_score(x, y) < 1.0
    assert h_score(*task(30, 200, signal=20.0)) > 1.5  # the bound is k - 1 = 2


def test_h_score_bears_constant_columns_and_features():
    x, y = task(signal=3.0)
    more = np.hstack([x, np.full((len(x), 1), 5.0)])
    assert 0 < h_score(more, y) <= 2
    assert h_score(np.ones((60, 4)), y) == 0.0


def test_h_score_leaves_out_classes_without_rows():
    x, y = task(signal=3.0)
    assert h_score(x, np.array([0, 2, 7])[y]) == pytest.approx(h_score(x, y))


# --- LEEP and NCE ---------------------------------------------------------------------------------


def source(n=50, z=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(z), size=n), rng.integers(0, 3, n)


def slow_leep(p, y):
    n, z = p.shape
    total = 0.0
    for i in range(n):
        inner = 0.0
        for s in range(z):
            marginal = sum(p[j, s] for j in range(n)) / n
            if marginal > 0:
                inner += sum(p[j, s] for j in range(n) if y[j] == y[i]) / n / marginal * p[i, s]
        total += np.log(inner)
    return total / n


def test_leep_is_the_slow_loop():
    assert leep(*source()) == pytest.approx(slow_leep(*source()), abs=1e-12)


def test_nce_is_the_entropy_of_the_table():
    from sklearn.metrics import mutual_info_score

    p, y = source()
    shares = np.bincount(y) / len(y)
    entropy = -np.sum(shares * np.log(shares))
    assert nce(p, y) == pytest.approx(mutual_info_score(y, p.argmax(axis=1)) - entropy, abs=1e-12)


@pytest.mark.parametrize("score", [leep, nce])
def test_a_source_class_that_is_never_predicted_changes_nothing(score):
    """Its column is 0/0 in the formula."""
    p, y = source()
    empty = np.zeros((len(p), 1))
    assert score(np.hstack([p, empty]), y) == pytest.approx(score(p, y), abs=1e-12)
    assert np.isfinite(score(np.hstack([empty, np.eye(2)[y % 2]]), y))


@pytest.mark.parametrize("score", [leep, nce])
def test_target_classes_without_rows_change_nothing(score):
    p, y = source()
    assert score(p, np.array([1, 5, 9])[y]) == pytest.approx(score(p, y), abs=1e-12)


@pytest.mark.parametrize("score", [leep, nce])
def test_their_bounds(score):
    y = np.arange(30) % 3
    assert score(np.eye(3)[(y + 1) % 3], y) == pytest.approx(0.0)  # other names, the same classes
    assert score(np.full((30, 4), 0.25), y) == pytest.approx(-np.log(3))
    assert score(np.eye(3)[np.zeros(30, dtype=int)], y) == pytest.approx(-np.log(3))


# --- what cannot be scored ------------------------------------------------------------------------


@pytest.mark.parametrize("score", [logme, h_score])
def test_features_and_labels_must_fit(score):
    with pytest.raises(CorpusError, match="two classes or more, got 1"):
        score(np.ones((4, 2)), [0, 0, 0, 0])
    with pytest.raises(CorpusError, match=r"labels \(n,\)"):
        score(np.ones((4, 2)), [0, 1])


@pytest.mark.parametrize("score", [leep, nce])
def test_probabilities_and_labels_must_fit(score):
    with pytest.raises(CorpusError, match="not logits"):
        score(np.array([[3.0, -1.0]]), [0])
    with pytest.raises(CorpusError, match=r"labels \(n,\)"):
        score(np.eye(2), [0])
    with pytest.raises(CorpusError, match=r"labels \(n,\)"):
        score(np.zeros((0, 2)), [])
