"""Prediction sets with a promise: split-conformal classification, in three misfits and three quantiles.

A *misfit* says how badly each class fits a row, (n, k): `lac_misfits` or `aps_misfits` (RAPS with a penalty).
A *quantile* of the calibration rows' misfits at their true classes is the largest misfit let in: one for
all (`conformal_quantile`), one a class (`class_quantiles`), or one a row (`weighted_quantiles`).
`sets_of` then lets in every class whose misfit does not exceed it. Any misfit goes with any quantile.

The promises. The model must have seen no calibration label.

- `conformal_quantile`: if the calibration rows and a new row are exchangeable, the new row's set holds its
  true class with probability at least ``1 - alpha``, on average over calibration draws and rows (Vovk et
  al. 2005; for LAC Sadinle, Lei, Wasserman 2019, arXiv 1609.00451). It says nothing of one class, one
  slice or another domain. Ties only add to it.
- `class_quantiles`: the same for the rows of each true class, if they are exchangeable within it
  (Mondrian: Vovk 2013, arXiv 1209.2673).
- `weighted_quantiles`: the same where the new rows' texts come from another distribution with the same
  ``P(label | text)`` and the weights are *exactly* its density ratio (Tibshirani et al. 2019, arXiv
  1904.06019, theorem 1, corollary 1). With estimated weights it is approximate, without a bound.

Too few calibration rows for the level give an infinite quantile: the set holds all classes, which is
how a set abstains. For ``alpha = 0.05`` that is below 19 rows.

With out-of-fold probabilities of the training rows the promise is only approximate: each row was scored
by a model that saw the others, and the final model, trained on all of them, is a different one. The
final model is usually no worse, so the interval coverage tends to be near or above the target, without proof.
It is approximate, too, where the same rows also chose a calibrator or the strength of a penalty. The
likeliest class is in every set, also where no class is as likely as the threshold asks: that only
adds to the coverage.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: relative slack of ranks: keeps 10 * (1 - 0.7) = 3.0000000000000004 from rounding up to 4
_HAIR = 1e-9


# --- misfits --------------------------------------------------------------------------------------


def lac_misfits(probabilities: npt.ArrayLike) -> Floats:
    """Return ``1 - p``, (n, k): the least ambiguous classifier, whose sets are smallest on average."""
    misfits: Floats = 1 - np.asarray(probabilities, dtype=np.float64)
    return misfits


def aps_misfits(
    probabilities: npt.ArrayLike, u: npt.ArrayLike, *, penalty: float = 0.0, free: int = 5
) -> Floats:
    """Return how much probability goes before each class, (n, k): adaptive prediction sets.

    The misfit of a class is the summed probability of the classes before it, in falling order, plus its own
    times ``u`` (Romano, Sesia, Candès 2020, arXiv 2006.02544); sets grow where a row is hard. With a
    ``penalty`` each rank beyond ``free`` adds that much (RAPS: Angelopoulos et al. 2021, arXiv
    2009.14193, who use 0.01 and 5), which keeps sets small where there are many classes.

    Parameters
    ----------
    u : (n,) uniform draws in [0, 1], independent of everything, for calibration rows and new rows alike; they
        make the coverage exact instead of too large. All ones give the conservative, unrandomized sets.

    Raises
    ------
    CorpusError : ``u`` outside [0, 1], or a negative penalty.

    Examples
    --------
    >>> aps_misfits([[0.25, 0.5, 0.25]], [0.5]).tolist()
    [[0.625, 0.25, 0.875]]
    """
    p, draw = np.asarray(probabilities, dtype=np.float64), np.asarray(u, dtype=np.float64)
    if draw.shape != p.shape[:1] or not ((draw >= 0) & (draw <= 1)).all() or penalty < 0 or free < 0:
        raise CorpusError(
            f"expected u (n,) in [0, 1] for {len(p)} rows, penalty >= 0 and free >= 0; "
            f"got u of shape {draw.shape}, penalty {penalty}, free {free}"
        )
    order = np.argsort(-p, axis=1, kind="stable")
    falling = np.take_along_axis(p, order, axis=1)
    before = np.cumsum(falling, axis=1) - falling + draw[:, None] * falling
    before += penalty * np.maximum(np.arange(1, p.shape[1] + 1) - free, 0)
    misfits = np.empty_like(p)
    np.put_along_axis(misfits, order, before, axis=1)
    return misfits


def true_misfits(misfits: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    """Return each calibration row's misfit (n,) at its true class.

    Raises
    ------
    CorpusError : no label in [0, k) for each row.
    """
    found, y = np.asarray(misfits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if found.ndim != 2 or y.shape != found.shape[:1] or not ((y >= 0) & (y < found.shape[1])).all():
        raise CorpusError(f"expected misfits (n, k), labels (n,) in [0, k); got {found.shape}, {y.shape}")
    own: Floats = found[np.arange(len(y)), y]
    return own


# --- quantiles ------------------------------------------------------------------------------------


def conformal_quantile(misfits: npt.ArrayLike, alpha: float) -> float:
    """Return the ``ceil((n + 1)(1 - alpha))``-th smallest misfit, or infinity if n is less.

    So ``alpha = 0`` gives infinity. With absolute residuals as misfits it is half the width of a
    split-conformal interval (Lei et al. 2018, arXiv 1604.04173).

    Raises
    ------
    CorpusError : ``alpha`` outside [0, 1), or a misfit is not a number.

    Examples
    --------
    >>> conformal_quantile(range(1, 20), 0.1), conformal_quantile([1.0] * 5, 0.1)
    (18.0, inf)
    """
    ordered = _ordered(misfits, alpha)
    rank = math.ceil((len(ordered) + 1) * (1 - alpha) - _HAIR)
    return float(ordered[rank - 1]) if rank <= len(ordered) else math.inf


def class_quantiles(misfits: npt.ArrayLike, labels: npt.ArrayLike, k: int, alpha: float) -> Floats:
    """Return the conformal quantile (k,) of each class's own calibration rows.

    A class of fewer than ``ceil(1 / alpha) - 1`` rows has an infinite one: it is in every set.

    Parameters
    ----------
    misfits : (n,) at the true class, see `true_misfits`.

    Examples
    --------
    >>> class_quantiles(range(23), [0] * 19 + [1] * 4, k=2, alpha=0.05).tolist()
    [18.0, inf]
    """
    found, y = np.asarray(misfits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    return np.array([conformal_quantile(found[y == c], alpha) for c in range(k)])


def weighted_quantiles(
    misfits: npt.ArrayLike, weights: npt.ArrayLike, new_weights: npt.ArrayLike, alpha: float
) -> Floats:
    """Return the quantile (m,) for each new row, with calibration rows weighted by the density ratio.

    It is the ``1 - alpha`` quantile of the misfits with weights ``w_i / (sum(w) + w_new)`` and an atom of the
    new row's own weight at infinity; infinite where that atom alone exceeds ``alpha``.

    Parameters
    ----------
    misfits, weights : (n,) of the calibration rows, at the true class.
    new_weights : (m,) the same ratio at the new rows. Only proportions count.

    Raises
    ------
    CorpusError : shapes differ, or a weight is negative or not finite.

    Examples
    --------
    >>> weighted_quantiles(range(1, 20), np.ones(19), [1.0, 3.0], alpha=0.1).tolist()
    [18.0, inf]
    """
    w, new = np.asarray(weights, dtype=np.float64), np.asarray(new_weights, dtype=np.float64)
    found = np.asarray(misfits, dtype=np.float64)
    bad = w.shape != found.shape or not all(np.isfinite(v).all() and (v >= 0).all() for v in (w, new))
    if bad or new.ndim != 1:
        raise CorpusError(
            "expected one finite weight, not negative, for each calibration row and each new row; "
            f"got {w.shape} for misfits {found.shape}, and {new.shape}"
        )
    ordered = _ordered(found, alpha)
    mass = np.cumsum(w[np.argsort(found, kind="stable")])
    total = mass[-1] if len(mass) else 0.0
    rank = np.searchsorted(mass, (total + new) * (1 - alpha - _HAIR))
    return np.where(total + new > 0, np.append(ordered, np.inf)[rank], np.inf)


def sets_of(probabilities: npt.ArrayLike, misfits: npt.ArrayLike, q: npt.ArrayLike) -> Bools:
    """Return which classes are in each row's set, bool (n, k): misfit at most ``q``, and the likeliest.

    Parameters
    ----------
    misfits : (n, k) of the same rows.
    q : one quantile, (k,) by class; for one a row give (n, 1).

    Examples
    --------
    >>> p = [[0.75, 0.25], [0.5, 0.5]]
    >>> sets_of(p, lac_misfits(p), [0.5, 0.75]).tolist()
    [[True, True], [True, True]]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    inside: Bools = np.asarray(misfits) <= np.asarray(q)
    inside[np.arange(len(p)), p.argmax(axis=1)] = True
    return inside


# --- the default ----------------------------------------------------------------------------------


def without_gaps(sets: Bools) -> Bools:
    """Return sets (n, k) of ordered classes with every class between two members: a promise still holds.

    Examples
    --------
    >>> without_gaps(np.array([[True, False, True, False]])).tolist()
    [[True, True, True, False]]
    """
    from_low = np.logical_or.accumulate(sets, axis=1)
    from_high = np.logical_or.accumulate(sets[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(from_low & from_high)


def lac_quantile(probabilities: npt.ArrayLike, labels: npt.ArrayLike, alpha: float) -> float:
    """Return the conformal quantile of ``1 - p(true class)``, or infinity if rows are too few.

    Raises
    ------
    CorpusError : ``alpha`` outside [0, 1).

    Examples
    --------
    >>> lac_quantile([[0.75, 0.25]] * 9, [0] * 8 + [1], alpha=0.2)
    0.25
    >>> lac_quantile([[0.75, 0.25]] * 9, [0] * 9, alpha=0.05)
    inf
    """
    return conformal_quantile(true_misfits(lac_misfits(probabilities), labels), alpha)


def lac_sets(probabilities: npt.ArrayLike, q: float) -> Bools:
    """Return which classes are in each row's set, bool (n, k): the likeliest, and those with ``1 - p <= q``.

    Examples
    --------
    >>> lac_sets([[0.75, 0.25], [0.5, 0.5]], q=0.5).tolist()
    [[True, False], [True, True]]
    """
    return sets_of(probabilities, lac_misfits(probabilities), q)


def _ordered(misfits: npt.ArrayLike, alpha: float) -> Floats:
    """Return the misfits in rising order, after checks."""
    if not 0 <= alpha < 1:
        raise CorpusError(f"expected alpha in [0, 1), the share of sets allowed to miss; got {alpha}")
    ordered = np.sort(np.asarray(misfits, dtype=np.float64))
    if ordered.ndim != 1 or np.isnan(ordered).any():
        raise CorpusError(f"expected numbers (n,) as misfits; got shape {ordered.shape}, or NaN among them")
    return ordered
