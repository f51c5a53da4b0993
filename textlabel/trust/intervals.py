"""Intervals for scores, with a marginal promise: split-conformal regression.

The promise, of all three: if the calibration rows and a new row are exchangeable and the model saw
none of their scores, the new row's interval holds its true score with probability at least ``1 - alpha``, on
average over calibration draws and rows; whether the model is any good changes only the width. What differs
is where the width goes: the same for all rows (`residual_intervals`), in proportion to a guess of the
error (`normalized_intervals`), or as the model's own quantiles have it (`quantile_intervals`). Too few
calibration rows for the level give the whole line.

Every function takes calibration rows first, then new rows, and returns (m, 2): low and high.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.trust.sets import conformal_quantile

Floats = npt.NDArray[np.float64]


def residual_intervals(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, new: npt.ArrayLike, alpha: float
) -> Floats:
    """Return predictions plus and minus one conformal quantile of absolute residuals.

    Lei et al. 2018, arXiv 1604.04173, algorithm 2.

    Parameters
    ----------
    truth, predicted : (n,) of the calibration rows.
    new : (m,) predictions of the new rows.

    Raises
    ------
    CorpusError : shapes differ, a value is not finite, or ``alpha`` outside [0, 1).

    Examples
    --------
    >>> residual_intervals(range(9), np.zeros(9), [10.0], alpha=0.2).tolist()
    [[3.0, 17.0]]
    """
    y, said = _columns(truth, predicted)
    (fresh,) = _columns(new)
    half = conformal_quantile(np.abs(y - said), alpha)
    return np.stack([fresh - half, fresh + half], axis=1)


def normalized_intervals(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    spread: npt.ArrayLike,
    new: npt.ArrayLike,
    new_spread: npt.ArrayLike,
    alpha: float,
) -> Floats:
    """Return predictions plus and minus their own spread times one quantile of residuals over spread.

    Lei et al. 2018, arXiv 1604.04173, section 5.2.

    Parameters
    ----------
    truth, predicted : (n,) of the calibration rows.
    spread, new_spread : (n,) and (m,) guesses of the error's size, above 0, made without these rows' truth.
    new : (m,) predictions of the new rows.

    Raises
    ------
    CorpusError : as `residual_intervals`, or a spread is not above 0.

    Examples
    --------
    >>> normalized_intervals(range(9), np.zeros(9), np.ones(9), [10.0], [2.0], alpha=0.2).tolist()
    [[-4.0, 24.0]]
    """
    y, said, size = _columns(truth, predicted, spread)
    fresh, fresh_size = _columns(new, new_spread)
    if not ((size > 0).all() and (fresh_size > 0).all()):
        raise CorpusError("expected spreads above 0: add a floor to the guess of the error's size")
    half = conformal_quantile(np.abs(y - said) / size, alpha) * fresh_size
    return np.stack([fresh - half, fresh + half], axis=1)


def quantile_intervals(
    truth: npt.ArrayLike,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    new_low: npt.ArrayLike,
    new_high: npt.ArrayLike,
    alpha: float,
) -> Floats:
    """Return predicted quantiles, moved apart (or together) until they hold what they promise.

    Conformalized quantile regression: Romano, Patterson, Candès 2019, arXiv 1905.03222. Where moving them
    together makes them cross, the interval is the point between them, which only adds to the coverage.

    Parameters
    ----------
    truth : (n,) of the calibration rows.
    low, high, new_low, new_high : (n,) and (m,) predicted quantiles, such as those of ``alpha / 2`` and
        ``1 - alpha / 2``.

    Raises
    ------
    CorpusError : as `residual_intervals`.

    Examples
    --------
    >>> truth = np.linspace(-2, 2, 9)
    >>> quantile_intervals(truth, -np.ones(9), np.ones(9), [4.0], [6.0], alpha=0.2).tolist()
    [[3.0, 7.0]]
    """
    y, below, above = _columns(truth, low, high)
    fresh_low, fresh_high = _columns(new_low, new_high)
    q = conformal_quantile(np.maximum(below - y, y - above), alpha)
    moved = np.stack([fresh_low - q, fresh_high + q], axis=1)
    middle = ((fresh_low + fresh_high) / 2)[:, None]
    return np.where(moved[:, :1] > moved[:, 1:], middle, moved)


def _columns(*values: npt.ArrayLike) -> list[Floats]:
    """Return arrays of one shape (n,) whose values are finite."""
    arrays = [np.asarray(value, dtype=np.float64) for value in values]
    if arrays[0].ndim != 1 or any(a.shape != arrays[0].shape for a in arrays):
        raise CorpusError(f"expected arrays of one shape (n,); got {[a.shape for a in arrays]}")
    if not all(np.isfinite(a).all() for a in arrays):
        raise CorpusError("expected finite scores, predictions and spreads; one is NaN or infinite")
    return arrays
