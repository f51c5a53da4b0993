"""Exact limits of a count in a finite population, from rows drawn uniformly without replacement.

Only the draw is random: nothing is assumed about the population, the model or the number of rows. All
functions take arrays of counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: how `limits` divides its error probability: what points outward, what points inward (which adds little),
#: and the bound without the model. Fixed before any answer is seen.
_PARTS = (0.6, 0.1, 0.3)


@dataclass(frozen=True)
class Counts:
    """What is known about one class: rows that the model says are of it ("said"), and audited rows.

    All fields are integer arrays of one shape.

    Parameters
    ----------
    n : rows in the population; ``said`` of them are predicted to be of the class.
    m : audited rows; ``m_said`` of them are predicted to be of the class.
    hits : audited rows that are predicted to be of the class and are.
    misses : audited rows that are of the class and are not predicted to be.
    """

    n: Ints
    said: Ints
    m: Ints
    m_said: Ints
    hits: Ints
    misses: Ints

    def __getitem__(self, where: npt.NDArray[np.bool_]) -> Counts:
        """Return the counts at ``where``."""
        return Counts(*(values[where] for values in vars(self).values()))


def at_most(n: npt.ArrayLike, m: npt.ArrayLike, x: npt.ArrayLike, alpha: float) -> Ints:
    """Return the most rows of a kind that ``n`` rows may hold when ``m`` were drawn and ``x`` were of it.

    The largest K with ``P(Hypergeometric(n, K, m) <= x) > alpha``. Over the draw, the true number exceeds it
    with probability at most ``alpha``, for it is excluded only by an ``x`` that is so rare under it. At least
    what was seen, at most what was not refuted.

    Examples
    --------
    >>> at_most(10_000, [0, 59, 300], 0, alpha=0.05).tolist()
    [10000, 493, 97]
    """
    from scipy.stats import hypergeom

    n, m, x = (a.astype(np.int64) for a in np.broadcast_arrays(n, m, x))
    low, high = x.copy(), n - (m - x)
    while (open_ := low < high).any():
        middle = (low + high + 1) // 2
        possible = hypergeom.cdf(x, np.maximum(n, 1), middle, m) > alpha
        low, high = np.where(open_ & possible, middle, low), np.where(open_ & ~possible, middle - 1, high)
    return low


def at_least(n: npt.ArrayLike, m: npt.ArrayLike, x: npt.ArrayLike, alpha: float) -> Ints:
    """Return the fewest rows of a kind that ``n`` rows may hold: `at_most`, read for the other kind.

    Examples
    --------
    >>> at_least(10_000, 300, [0, 3, 300], alpha=0.05).tolist()
    [0, 28, 9903]
    """
    n, m, x = np.asarray(n), np.asarray(m), np.asarray(x)
    return n - at_most(n, m, m - x, alpha)


def limits(counts: Counts, alpha: float) -> tuple[Ints, Ints]:
    """Return the fewest and the most rows of the class, each wrong with probability at most ``alpha / 2``.

    The class holds T = said - false + missed rows, where ``false`` of the rows said to be of it are not and
    ``missed`` of the other rows are. Given how many audited rows fall on each side, those are uniform draws
    from both, so ``false`` and ``missed`` have exact limits of their own; T has one too, read without the
    model. T is at most the smaller of ``said - least false + most missed`` and ``most T``. The three bounds
    share ``alpha / 2``, and by the union bound all hold together. The lower limit mirrors it. A good model
    makes the first narrow; a useless one costs little, since the last does not read it.
    """
    c = counts
    outward, inward, plain = (part * alpha / 2 for part in _PARTS)
    others, m_others = c.n - c.said, c.m - c.m_said
    false, found = c.m_said - c.hits, c.hits + c.misses
    lows = (
        c.said - at_most(c.said, c.m_said, false, outward) + at_least(others, m_others, c.misses, inward),
        at_least(c.n, c.m, found, plain),
    )
    highs = (
        c.said - at_least(c.said, c.m_said, false, inward) + at_most(others, m_others, c.misses, outward),
        at_most(c.n, c.m, found, plain),
    )
    least, most = np.maximum(*lows), np.minimum(*highs)
    empty = least > most  # a draw so odd that the bounds exclude each other: say less, not more
    return np.where(empty, np.minimum(*lows), least), np.where(empty, np.maximum(*highs), most)


def binomial_limits(x: npt.ArrayLike, m: npt.ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """Return the exact low and high limits of the share of a source of which ``x`` of ``m`` rows drawn were.

    Clopper and Pearson 1934 (doi 10.1093/biomet/26.4.404), ``alpha / 2`` on each side; no row: 0 and 1.

    Examples
    --------
    >>> low, high = binomial_limits([0, 10], 10, alpha=0.05)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.692], [0.308, 1.0])
    """
    from scipy.stats import beta

    x, m = (a.astype(np.int64) for a in np.broadcast_arrays(x, m))
    low = np.where(x > 0, beta.ppf(alpha / 2, np.maximum(x, 1), m - x + 1), 0.0)
    return low, np.where(x < m, beta.ppf(1 - alpha / 2, x + 1, np.maximum(m - x, 1)), 1.0)
