"""Which of two ways to label is right more often, by rows that both labeled: exact limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.trust.exact import binomial_limits

#: part of the error probability that is spent on how many rows differ; the rest tells in whose favor
_ON_MANY = 0.2


@dataclass(frozen=True)
class Difference:
    """How much more often one way is right than another, and what rows drawn at random let say of that.

    Parameters
    ----------
    value, low, high : difference of the two shares of right labels, in [-1, 1], and its limits.
    better, worse : rows on which only the one is right, or only the other.
    rows : that both labeled.
    """

    value: float
    low: float
    high: float
    better: int
    worse: int
    rows: int


def paired_difference(right: npt.ArrayLike, other: npt.ArrayLike, alpha: float = 0.05) -> Difference:
    """Return the difference of two accuracies on the same rows, with limits that hold in finite samples.

    The difference is ``d (2 f - 1)``, ``d`` the probability that just one of the two is right and ``f`` that
    it is the first. Both get Clopper-Pearson limits, f at four fifths of ``alpha`` given how many rows
    differ, d at the rest; the limits are the least and the most that the two allow. So they hold the true
    difference with probability ``1 - alpha`` or more if the rows were drawn at random, each by itself, and
    the two ways did not learn from them. They exclude 0 just where an exact sign test does (McNemar 1947, doi
    10.1007/BF02295996), at level ``0.8 alpha``.

    Parameters
    ----------
    right, other : (n,) whether each row is right, by the one way and by the other.

    Raises
    ------
    CorpusError : no rows, or not the same number.

    Examples
    --------
    >>> found = paired_difference([True] * 30 + [False] * 10, [False] * 20 + [True] * 10 + [False] * 10)
    >>> found.value, found.better, found.worse, found.low > 0.15
    (0.5, 20, 0, True)
    """
    one, two = np.asarray(right, dtype=np.bool_), np.asarray(other, dtype=np.bool_)
    if one.ndim != 1 or one.shape != two.shape or not len(one):
        raise CorpusError(f"expected two arrays (n,) of one length n >= 1; got {one.shape} and {two.shape}")
    n, better, worse = len(one), int((one & ~two).sum()), int((two & ~one).sum())
    few, many = binomial_limits(better + worse, n, alpha * _ON_MANY)
    least, most = binomial_limits(better, better + worse, alpha * (1 - _ON_MANY))
    low, high = 2 * float(least) - 1, 2 * float(most) - 1
    return Difference(
        (better - worse) / n,
        low * float(few if low > 0 else many),
        high * float(many if high > 0 else few),
        better,
        worse,
        n,
    )
