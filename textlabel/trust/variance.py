"""How much a linear head's margins would vary with other training rows, and what confidence that leaves.

Laplace's approximation makes the weights of logistic regression normal, with the inverse of the summed
curvature as their covariance. A margin, the difference of two logits, then varies the more, the further a row
lies from the training rows, and averaging the sigmoid over it divides the margin by ``sqrt(1 + pi / 8 *
variance)`` (Spiegelhalter and Lauritzen 1990, doi 10.1002/net.3230200507; MacKay 1992, doi
10.1162/neco.1992.4.5.720).

The curvature of each row is taken to be that of the mean row. What remains of the covariance is the
covariance of the features, which the model keeps anyway, and one number, `margin_variance`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textlabel.trust.calibration import softmax

Floats = npt.NDArray[np.float64]

#: stands in for a probability of 0, whose logarithm is infinite
_LEAST = 1e-300


def margin_variance(probabilities: npt.ArrayLike) -> float:
    """Return the variance of a margin for each unit of ``1 + distance``, ``distance`` as in `temper`.

    The curvature of a row is the mean eigenvalue ``(1 - sum(p^2)) / (k - 1)`` of its k logits' Hessian, for
    two classes ``2 p (1 - p)``. One undecided row, of curvature 1 / k, is added to the sum, which would be 0
    where the model is certain of all rows.

    Parameters
    ----------
    probabilities : (n, k) calibrated, of the training rows, by models that did not train on them.

    Examples
    --------
    >>> margin_variance([[0.5, 0.5]] * 7)       # 2 / (7 / 2 + 1 / 2)
    0.5
    """
    p = np.asarray(probabilities, dtype=np.float64)
    k = p.shape[1]
    curvature = ((1 - (p**2).sum(axis=1)) / (k - 1)).sum()
    return float(2 / (curvature + 1 / k))


def temper(probabilities: npt.ArrayLike, distances: npt.ArrayLike, variance: float) -> Floats:
    """Return probabilities (n, k) whose log ratios are divided by ``sqrt(1 + pi / 8 * their variance)``.

    The likeliest class stays; the further off a row is, the less sure it becomes. ``(1 + distance) / n`` is
    the leverage of a row in a regression on n rows with an intercept.

    Parameters
    ----------
    probabilities : (n, k).
    distances : (n,) squared Mahalanobis distances to the mean of the training rows (`Moments.bulk`).
    variance : of a margin, for each unit of ``1 + distance``.

    Examples
    --------
    >>> temper([[0.9, 0.1], [0.9, 0.1]], [0.0, 99.0], 0.1).round(2).tolist()
    [[0.9, 0.1], [0.73, 0.27]]
    """
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST))
    spread = variance * (1 + np.asarray(distances, dtype=np.float64))
    return softmax(logs / np.sqrt(1 + np.pi / 8 * spread)[:, None])
