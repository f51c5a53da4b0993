import numpy as np
import pytest
import scipy.stats

from textlabel.trust.metrics import ece, ece_if_perfect
from textlabel.trust.reliability import (
    error_debiased,
    ks_error,
    ks_if_perfect,
    reliability,
    squared_error_debiased,
    wilson,
)


def rows(n, rng, shift=0.0):
    """Confidences, and whether each row is right: ``shift`` less often than they say."""
    sure = rng.uniform(0.5, 0.99, n)
    return sure, rng.random(n) < sure - shift


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (3, 17), (480, 500)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_agrees_with_scipy(right, n, level):
    expected = scipy.stats.binomtest(right, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(wilson(right / n, n, level), expected, atol=1e-12)


def test_the_table_sorts_rows_into_equal_shares():
    sure, right = rows(1000, np.random.default_rng(0))
    table = reliability(sure, right, bins=10)
    for one, part in zip(table, np.array_split(np.argsort(sure), 10), strict=True):
        assert one.n == 100
        assert one.confidence == pytest.approx(sure[part].mean())
        assert one.accuracy == pytest.approx(right[part].mean())
        assert one.low < one.accuracy < one.high
    assert sum(b.n * abs(b.accuracy - b.confidence) for b in table) / 1000 == pytest.approx(
        ece(sure, right, 10)
    )


def test_rows_of_one_confidence_share_a_bin_and_no_bin_is_empty():
    table = reliability([0.6] * 50 + [0.9] * 3, [1] * 53)
    assert [(b.n, b.confidence) for b in table] == [(50, pytest.approx(0.6)), (3, pytest.approx(0.9))]


def test_intervals_hold_the_accuracy_as_often_as_they_say():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(150):
        sure, right = rows(500, rng, shift=0.1)
        inside += [b.low <= b.confidence - 0.1 <= b.high for b in reliability(sure, right)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("n", [100, 400])
def test_the_debiased_error_is_right_on_average_where_the_plain_one_is_not(shift, n):
    rng = np.random.default_rng(2)
    draws = [rows(n, rng, shift) for _ in range(400)]
    debiased = np.array([squared_error_debiased(*draw) for draw in draws])
    error = debiased.std() / np.sqrt(400)
    assert debiased.mean() == pytest.approx(shift**2, abs=3 * error + 1e-3)
    plain = np.mean([ece(*draw) for draw in draws])
    assert plain > shift + (0.03 if shift == 0 else 0)


def test_with_constant_confidence_it_is_the_estimator_of_kumar_liang_ma():
    rng = np.random.default_rng(3)
    sure = np.repeat([0.55, 0.7, 0.9], 40)
    right = rng.random(120) < 0.7
    expected = 0.0
    for c in (0.55, 0.7, 0.9):
        accuracy = right[sure == c].mean()
        expected += ((accuracy - c) ** 2 - accuracy * (1 - accuracy) / 39) / 3
    assert squared_error_debiased(sure, right, bins=3) == pytest.approx(expected)
    assert error_debiased(sure, right, bins=3) == pytest.approx(np.sqrt(max(expected, 0)))


def test_bins_of_one_row_tell_nothing():
    assert squared_error_debiased([0.2, 0.9], [0, 1]) == 0.0
    assert error_debiased([0.5] * 2, [0, 1]) == 0.0


def test_ks_is_the_largest_gap_of_the_running_sums():
    sure, right = rows(60, np.random.default_rng(4), shift=0.2)
    sure = sure.round(1)
    gaps = [abs(np.sum((right - sure)[sure <= c])) / 60 for c in set(sure)]
    assert ks_error(sure, right) == pytest.approx(max(gaps))
    order = np.random.default_rng(5).permutation(60)
    assert ks_error(sure[order], right[order]) == pytest.approx(max(gaps))


@pytest.mark.parametrize("n", [50, 800])
def test_what_perfect_calibration_shows_is_what_it_shows(n):
    rng = np.random.default_rng(6)
    sure, _ = rows(n, rng)
    sure = sure.round(2)
    ks, plain = [], []
    for _ in range(300):
        right = rng.random(n) < sure
        ks.append(ks_error(sure, right))
        plain.append(ece(sure, right))
    assert ks_if_perfect(sure) == pytest.approx(np.mean(ks), rel=0.12)
    assert ece_if_perfect(sure) == pytest.approx(np.mean(plain), rel=0.12)
