"""Prediction sets with a marginal promise: split-conformal, least ambiguous classifier (LAC).

The promise (Sadinle, Lei, Wasserman 2019, arXiv 1609.00451): if the calibration rows and a new row
are exchangeable and the model saw none of their labels, then the new row's set holds its true class with
probability at least ``1 - alpha``, on average over calibration draws and rows. It says nothing of
one class, one slice or another domain.

With out-of-fold probabilities of the training rows the promise is only approximate: each row was scored
by a model that saw the others, and the final model, trained on all of them, is a different one. The
final model is usually no worse, so the interval coverage tends to be near or above the target, without proof.
It is approximate, too, where the same rows also chose a temperature (which reorders rows where there are
more than two classes) or the strength of a penalty. The likeliest class is in every set, also where no class
is as likely as the threshold asks: that only adds to the coverage.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError


def lac_quantile(probabilities: npt.ArrayLike, labels: npt.ArrayLike, alpha: float) -> float:
    """Return the ``ceil((n + 1)(1 - alpha))``-th smallest of ``1 - p(true class)``, or infinity if n is less.

    Infinity means that n rows cannot support this level: every set then holds all classes.

    Raises
    ------
    CorpusError : ``alpha`` outside (0, 1).

    Examples
    --------
    >>> lac_quantile([[0.75, 0.25]] * 9, [0] * 8 + [1], alpha=0.2)
    0.25
    >>> lac_quantile([[0.75, 0.25]] * 9, [0] * 9, alpha=0.05)
    inf
    """
    if not 0 < alpha < 1:
        raise CorpusError(f"expected alpha in (0, 1), the share of sets allowed to miss; got {alpha}")
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    return conformal_quantile(1 - p[np.arange(len(y)), y], alpha)


def conformal_quantile(misfits: npt.ArrayLike, alpha: float) -> float:
    """Return the ``ceil((n + 1)(1 - alpha))``-th smallest misfit, or infinity if n is less.

    With absolute residuals as misfits it is half the width of a split-conformal interval (Lei et al.
    2018, arXiv 1604.04173).

    Examples
    --------
    >>> conformal_quantile(range(1, 20), 0.1), conformal_quantile([1.0] * 5, 0.1)
    (18.0, inf)
    """
    ordered = np.sort(np.asarray(misfits, dtype=np.float64))
    # the hair keeps 10 * (1 - 0.7) = 3.0000000000000004 from rounding up to rank 4
    rank = math.ceil((len(ordered) + 1) * (1 - alpha) - 1e-9)
    return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf


def lac_sets(probabilities: npt.ArrayLike, q: float) -> npt.NDArray[np.bool_]:
    """Return which classes are in each row's set, bool (n, k): the likeliest, and those with ``1 - p <= q``.

    Examples
    --------
    >>> lac_sets([[0.75, 0.25], [0.5, 0.5]], q=0.5).tolist()
    [[True, False], [True, True]]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    inside: npt.NDArray[np.bool_] = 1 - p <= q
    inside[np.arange(len(p)), p.argmax(axis=1)] = True
    return inside
