import numpy as np
import pytest

from textlabel.errors import CorpusError
from textlabel.trust.intervals import normalized_intervals, quantile_intervals, residual_intervals

KINDS = ("residual", "normalized", "quantile")


def _intervals(kind, y, said, size, n, alpha):
    """Calibrate on the first n rows, return intervals of the others."""
    if kind == "residual":
        return residual_intervals(y[:n], said[:n], said[n:], alpha)
    if kind == "normalized":
        return normalized_intervals(y[:n], said[:n], size[:n], said[n:], size[n:], alpha)
    low, high = said - size, said + size
    return quantile_intervals(y[:n], low[:n], high[:n], low[n:], high[n:], alpha)


def _world(name, rng, m):
    said, size = rng.normal(size=m), rng.uniform(0.2, 2.0, m)
    if name == "honest":
        return said + size * rng.normal(size=m), said, size
    if name == "useless":  # nothing predicts anything, heavy tails
        return rng.standard_cauchy(m), said, size
    if name == "ties":
        return np.round(said), np.round(said) + (rng.random(m) < 0.2), np.ones(m)
    return said - 5.0, said, size  # biased, without noise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", ["honest", "useless", "ties", "biased"])
def test_coverage_holds_and_is_exact_without_ties(kind, world):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        y, said, size = _world(world, rng, 29 + 40)
        low, high = _intervals(kind, y, said, size, 29, 0.2).T
        covered.append(np.mean((low <= y[29:] + 1e-9) & (y[29:] - 1e-9 <= high)))
    error = np.std(covered) / np.sqrt(300)
    assert np.mean(covered) >= 0.8 - 3 * error
    if world in ("honest", "useless"):
        assert np.mean(covered) <= 0.8 + 4 * error  # 24 of 30


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_rows_give_the_whole_line(kind):
    rng = np.random.default_rng(1)
    y, said, size = _world("honest", rng, 20)
    assert np.isfinite(_intervals(kind, y, said, size, 19, 0.05)).all()
    assert _intervals(kind, y, said, size, 18, 0.05).tolist() == [[-np.inf, np.inf]] * 2


def test_a_good_guess_of_the_error_makes_even_coverage():
    rng = np.random.default_rng(2)
    y, said, size = _world("honest", rng, 8000)
    hard = size[4000:] > 1.5
    gaps = {}
    for kind in KINDS:
        low, high = _intervals(kind, y, said, size, 4000, 0.1).T
        inside = (low <= y[4000:]) & (y[4000:] <= high)
        gaps[kind] = inside[~hard].mean() - inside[hard].mean()
    assert gaps["residual"] > 0.15
    assert abs(gaps["normalized"]) < 0.04


def test_quantiles_that_are_too_wide_move_together_and_never_cross():
    y = np.zeros(99)
    wide = quantile_intervals(y, np.full(99, -3.0), np.full(99, 5.0), [-3.0, 0.0], [5.0, 1.0], 0.1)
    assert wide.tolist() == [[0.0, 2.0], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (([1.0], [1.0, 2.0], [0.0], 0.1), "arrays of one shape"),
        (([np.nan], [1.0], [0.0], 0.1), "finite scores"),
        (([1.0], [1.0], [0.0], 1.0), "alpha in"),
    ],
)
def test_bad_input_is_named(values, message):
    with pytest.raises(CorpusError, match=message):
        residual_intervals(*values)


def test_a_spread_of_zero_is_refused():
    with pytest.raises(CorpusError, match="spreads above 0"):
        normalized_intervals([1.0], [1.0], [0.0], [1.0], [1.0], 0.1)
