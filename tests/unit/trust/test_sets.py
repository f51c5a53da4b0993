import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.sets import lac_quantile, lac_sets


def _rows(rng, n, k=4):
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + np.eye(k)[labels]
    e = np.exp(2 * logits)  # overconfident on purpose: the promise does not need calibration
    return e / e.sum(1, keepdims=True), labels


def test_coverage_is_as_promised_over_many_calibration_draws():
    rng = np.random.default_rng(0)
    alpha, n, covered = 0.1, 39, []
    for _ in range(400):
        p, y = _rows(rng, n + 50)
        sets = lac_sets(p[n:], lac_quantile(p[:n], y[:n], alpha))
        covered.append(sets[np.arange(50), y[n:]].mean())
    # exact for continuous scores: 36 / 40; standard error of the mean about 0.003
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)


def test_the_quantile_is_the_right_order_statistic():
    misfits = np.random.default_rng(1).permutation(np.arange(1, 10) / 10)
    p = np.column_stack([1 - misfits, misfits])
    assert lac_quantile(p, [0] * 9, alpha=0.3) == pytest.approx(0.7)  # rank 7 of 10 * 0.7, despite rounding


@pytest.mark.parametrize(("n", "finite"), [(18, False), (19, True)])
def test_five_percent_needs_nineteen_rows(n, finite):
    q = lac_quantile(np.full((n, 2), 0.5), [0] * n, alpha=0.05)
    assert np.isfinite(q) == finite
    assert lac_sets([[1.0, 0.0]], q).all() != finite


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5])
def test_alpha_must_be_a_share(alpha):
    with pytest.raises(CorpusError, match="alpha in"):
        lac_quantile([[0.5, 0.5]], [0], alpha)
