"""Every metric against scikit-learn, scipy, a closed form, or brute force."""

import time

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from textlabel.trust import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _simulated(rng, n=400, k=4):
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[labels]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, p


def test_labels_agree_with_sklearn(rng):
    labels, p = _simulated(rng)
    said = p.argmax(1)
    report = metrics.class_report(labels, said, 4)
    expected = sklearn.metrics.precision_recall_fscore_support(labels, said, zero_division=0)
    for ours, theirs in zip(
        (report.precision, report.recall, report.f1, report.support), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs)
    assert metrics.accuracy(labels, said) == pytest.approx(sklearn.metrics.accuracy_score(labels, said))
    assert metrics.macro_f1(labels, said, 4) == pytest.approx(
        sklearn.metrics.f1_score(labels, said, average="macro")
    )


@pytest.mark.parametrize("k", [2, 5])
def test_quadratic_kappa_agrees_with_sklearn(rng, k):
    labels, p = _simulated(rng, k=k)
    for said in (p.argmax(1), labels, k - 1 - labels, np.zeros_like(labels)):
        expected = sklearn.metrics.cohen_kappa_score(labels, said, weights="quadratic")
        assert metrics.quadratic_kappa(labels, said, k) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(metrics.quadratic_kappa([1, 1], [1, 1], k))


def test_classes_that_never_occur_do_not_lower_macro_f1():
    labels, said = [0, 0, 2, 2], [0, 2, 2, 2]
    expected = sklearn.metrics.f1_score(labels, said, average="macro")
    assert metrics.macro_f1(labels, said, 5) == pytest.approx(expected)
    assert metrics.class_report(labels, said, 5).f1[4] == 0


def test_never_predicted_class_counts_as_zero():
    assert metrics.macro_f1([0, 1], [0, 0], 2) == pytest.approx((2 / 3 + 0) / 2)


def test_ece_without_ties_is_that_of_equal_slices(rng):
    n, bins = 150, 15
    sure = np.sort(rng.random(n))
    right = rng.random(n) < sure
    slices = np.abs((right - sure).reshape(bins, -1).mean(1)).mean()
    order = rng.permutation(n)
    assert metrics.ece(sure[order], right[order], bins) == pytest.approx(slices)


def test_ties_are_never_split_and_row_order_does_not_matter(rng):
    # cutting 30 rows into 15 pairs would split both groups and see error inside each pair
    sure = np.repeat([0.6, 0.9], [13, 17])
    right = rng.random(30) < sure
    by_hand = abs(right[:13].sum() - 13 * 0.6) / 30 + abs(right[13:].sum() - 17 * 0.9) / 30
    assert metrics.ece(sure, right) == pytest.approx(by_hand)
    order = rng.permutation(30)
    assert metrics.ece(sure[order], right[order]) == pytest.approx(by_hand)


def test_interval_brackets_a_miscalibrated_model_and_is_seeded(rng):
    sure = rng.uniform(0.6, 1.0, 4000)
    right = rng.random(4000) < sure - 0.2
    low, high = metrics.ece_interval(sure, right, seed=1)
    assert low < 0.2 < high
    assert low > metrics.ece_if_perfect(sure)
    assert (low, high) == metrics.ece_interval(sure, right, seed=1)
    assert (low, high) != metrics.ece_interval(sure, right, seed=2)
    narrow = metrics.ece_interval(sure, right, level=0.5, seed=1)
    assert low < narrow[0] < narrow[1] < high


def test_interval_agrees_with_a_plain_loop(rng):
    n, bins = 90, 5
    sure = np.sort(rng.random(n))
    right = rng.random(n) < sure**2
    bin_of = np.arange(n) // (n // bins)
    errors = []
    for _ in range(4000):
        rows = rng.integers(0, n, n)
        gaps = [(right[rows] - sure[rows])[bin_of[rows] == b].sum() for b in range(bins)]
        errors.append(np.abs(gaps).sum() / n)
    interval = metrics.ece_interval(sure, right, bins, resamples=4000)
    np.testing.assert_allclose(interval, np.quantile(errors, [0.025, 0.975]), atol=0.01)


def test_floor_of_a_perfect_model_has_the_normal_form():
    # one bin per value: mean absolute value of a centered binomial, about sqrt(2 / pi) of its deviation
    n = 2000
    expected = np.sqrt(2 / np.pi) * np.sqrt(0.8 * 0.2 / n)
    assert metrics.ece_if_perfect(np.full(n, 0.8), repeats=4000) == pytest.approx(expected, rel=0.05)


def test_a_hundred_thousand_rows_take_about_a_second(rng):
    sure = rng.random(100_000)
    right = rng.random(100_000) < sure
    start = time.process_time()
    metrics.ece_interval(sure, right, resamples=50)
    assert time.process_time() - start < 1.0  # a tenth of the default number of resamples


def test_brier_and_nll_agree_with_sklearn(rng):
    labels, p = _simulated(rng)
    onehot = np.eye(4)[labels]
    assert metrics.nll(labels, p) == pytest.approx(sklearn.metrics.log_loss(labels, p))
    assert metrics.brier(labels, p) == pytest.approx(4 * sklearn.metrics.mean_squared_error(onehot, p))
    two = p[:, :2] / p[:, :2].sum(1, keepdims=True)
    binary = sklearn.metrics.brier_score_loss(labels % 2, two[:, 1])
    assert metrics.brier(labels % 2, two) == pytest.approx(2 * binary)


def test_nll_of_an_impossible_label_is_finite():
    assert metrics.nll([0], [[0.0, 1.0]], floor=1e-6) == pytest.approx(6 * np.log(10))


def test_risk_coverage_agrees_with_brute_force(rng):
    sure = rng.integers(0, 20, 200) / 20
    right = rng.random(200) < sure
    curve = metrics.risk_coverage(sure, right)
    for value, fraction, error in zip(curve.confidence, curve.fraction_accepted, curve.error, strict=True):
        taken = sure >= value
        assert fraction == pytest.approx(taken.mean())
        assert error == pytest.approx(1 - right[taken].mean())
    rows = [1 - right[sure >= s].mean() for s in sure]
    assert curve.aurc == pytest.approx(np.mean(rows))


def test_equal_confidences_are_one_step():
    curve = metrics.risk_coverage([0.7] * 4, [1, 0, 0, 1])
    assert curve.fraction_accepted.tolist() == [1.0]
    assert curve.aurc == pytest.approx(0.5)


def test_fraction_accepted_is_the_largest_that_reaches_the_precision(rng):
    sure = rng.integers(0, 15, 120) / 15
    right = rng.random(120) < sure
    for target in (0.5, 0.8, 0.95):
        fractions = [(sure >= s).mean() for s in np.unique(sure) if right[sure >= s].mean() >= target]
        assert metrics.fraction_accepted_at(target, sure, right) == pytest.approx(max(fractions, default=0.0))


def test_fraction_accepted_survives_rounding_and_failure():
    assert metrics.fraction_accepted_at(0.95, np.linspace(1, 0.5, 20), [1] * 19 + [0]) == 1.0
    assert metrics.fraction_accepted_at(0.95, [0.9, 0.8], [0, 0]) == 0.0


def test_scores_agree_with_scipy_and_sklearn(rng):
    truth = rng.integers(0, 10, 300).astype(float)  # with ties
    said = truth + rng.normal(size=300)
    assert metrics.mae(truth, said) == pytest.approx(sklearn.metrics.mean_absolute_error(truth, said))
    assert metrics.rmse(truth, said) == pytest.approx(sklearn.metrics.root_mean_squared_error(truth, said))
    assert metrics.pearson(truth, said) == pytest.approx(scipy.stats.pearsonr(truth, said).statistic)
    assert metrics.spearman(truth, said) == pytest.approx(scipy.stats.spearmanr(truth, said).statistic)


def test_constant_scores_have_no_correlation():
    assert np.isnan(metrics.pearson([1.0, 2.0], [3.0, 3.0]))


@pytest.mark.parametrize(("a", "b"), [([], []), ([1, 2], [1]), ([[1]], [[1]])])
def test_arrays_that_do_not_match_are_refused(a, b):
    with pytest.raises(ValueError, match="one shape"):
        metrics.accuracy(a, b)
    with pytest.raises(ValueError, match="labels"):
        metrics.brier(a, b[:0])
