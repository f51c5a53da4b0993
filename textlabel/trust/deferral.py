"""Who answers: how sure a cheaper model must be so that few of its answers differ from a better one's.

The cheaper model answers the rows of which it is surer than a threshold; the others are deferred to the
better one. The lower the threshold, the more rows it answers, and of all rows the share that it answers
otherwise can only grow. So one exact bound, held at each threshold, also holds at the one that is chosen by
it, on the same rows (risk-controlling prediction sets: Bates et al. 2021, arXiv 2101.02703, theorem 1).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

#: share of labels that may differ, where nobody says
MOST_DIFFER = 0.005

Floats = npt.NDArray[np.float64]


def fewest_rows(most: float, alpha: float) -> int:
    """Return how many rows are needed to promise anything: so many without a difference are enough.

    Examples
    --------
    >>> fewest_rows(0.005, alpha=0.05)
    598
    """
    return math.ceil(math.log(alpha) / math.log1p(-most))


def allowed(n: int, most: float, alpha: float) -> int:
    """Return how many of n rows may differ if the true share is to be at most ``most``; -1: n are too few.

    It is the largest x whose exact upper limit (Clopper and Pearson 1934) is not above ``most``: were the
    share above it, x or fewer differences would be seen with probability at most ``alpha``.

    Examples
    --------
    >>> allowed(597, 0.005, 0.05), allowed(598, 0.005, 0.05), allowed(5000, 0.005, 0.05)
    (-1, 0, 16)
    """
    from scipy.stats import binom

    found = int(binom.ppf(alpha, n, most))
    return found if binom.cdf(found, n, most) <= alpha else found - 1


def deferral_threshold(
    sureness: npt.ArrayLike, differs: npt.ArrayLike, most: float = MOST_DIFFER, alpha: float = 0.05
) -> float:
    """Return the sureness above which the cheaper model answers; infinite where it may answer nothing.

    The promise: if the rows are a random draw, and neither model nor ``sureness`` was made of them, then with
    probability at least ``1 - alpha`` over the draw at most the share ``most`` of all rows to come from the
    same source are answered by the cheaper model and differ from the better one's answer. Nothing else is
    assumed. It says nothing of one class, of rows from elsewhere, or of which of two answers is right.

    Parameters
    ----------
    sureness : (n,) of the cheaper model; minus infinity where it must not answer.
    differs : (n,) bool, whether its label differs from the better model's.

    Raises
    ------
    CorpusError : shapes that do not agree, a sureness that is not a number, shares outside (0, 1).

    Examples
    --------
    >>> sure = np.linspace(0, 1, 1001)
    >>> deferral_threshold(sure, sure < 0.3)
    0.298
    >>> deferral_threshold(sure, sure > 0.9)
    0.999
    >>> deferral_threshold(sure[:400], sure[:400] < 0)
    inf
    """
    scores, wrong = np.asarray(sureness, dtype=np.float64), np.asarray(differs, dtype=np.bool_)
    if scores.ndim != 1 or wrong.shape != scores.shape or np.isnan(scores).any():
        raise CorpusError(
            f"expected a number and a yes or no for each row, got shapes {scores.shape} and {wrong.shape}, "
            f"and {int(np.isnan(scores).sum())} that are not numbers"
        )
    if not (0 < most < 1 and 0 < alpha < 1):
        raise CorpusError(f"expected shares in (0, 1), got most = {most} and alpha = {alpha}")
    room = allowed(len(scores), most, alpha)
    if room < 0:
        return math.inf
    surest = np.sort(scores[wrong])[::-1]
    return float(surest[room]) if room < len(surest) else -math.inf
