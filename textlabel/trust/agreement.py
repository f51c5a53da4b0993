"""How far reviewers agree, and what most of them say: pure functions on an array (n, r) of answers.

A row is a reviewed row, a column a reviewer. Classes are codes from 0 on with -1 for no answer (not asked,
skipped, unsure); scores are floats with NaN for none. The distance of two answers is 0 or 1 for classes
("nominal") and the squared difference for scores ("interval").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from textlabel.errors import AuditError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["nominal", "interval"]


@dataclass(frozen=True)
class Agreement:
    """What is reported of several reviewers.

    Parameters
    ----------
    rows : rows that at least two reviewers answered; ``answered`` have at least one answer.
    same : share in [0, 1] of pairs of answers to one row that are equal, averaged over those rows.
    alpha : Krippendorff's alpha; NaN where it is not defined.
    tied : rows of classes whose reviewers are split, so that no answer has the most votes.
    """

    rows: int
    answered: int
    same: float
    alpha: float
    tied: int


def agreement(answers: npt.ArrayLike, kind: Kind = "nominal") -> Agreement:
    """Return percent agreement, Krippendorff's alpha and the number of ties.

    Examples
    --------
    >>> found = agreement([[0, 0, 0], [1, 1, 0], [0, 1, -1], [1, 1, 1], [2, -1, -1]])
    >>> found.rows, found.answered, round(found.same, 3), round(found.alpha, 3), found.tied
    (4, 5, 0.583, 0.333, 1)
    """
    a = _known(answers, kind)
    votes = (~np.isnan(a)).sum(axis=1)
    apart = _mean_distance(a, "nominal")
    return Agreement(
        rows=int((votes > 1).sum()),
        answered=int((votes > 0).sum()),
        same=float(1 - apart[votes > 1].mean()) if (votes > 1).any() else float("nan"),
        alpha=krippendorff_alpha(answers, kind),
        tied=int(((majority(answers) < 0) & (votes > 0)).sum()) if kind == "nominal" else 0,
    )


def disagreement(answers: npt.ArrayLike, kind: Kind = "nominal") -> Floats:
    """Return the mean distance (n,) of two of a row's answers; NaN with fewer than two.

    For classes that is the share of its pairs that differ, in [0, 1].

    Examples
    --------
    >>> disagreement([[0, 0, 0], [1, 1, 0], [2, -1, -1]]).round(3).tolist()
    [0.0, 0.667, nan]
    """
    return _mean_distance(_known(answers, kind), kind)


def krippendorff_alpha(answers: npt.ArrayLike, kind: Kind = "nominal") -> float:
    """Return Krippendorff's alpha: 1 is full agreement, 0 that of chance, below 0 is worse.

    One minus the mean distance of two answers to one row over that of any two answers. Rows with fewer than
    two answers are left out; the others count by their number of answers. NaN where nobody's answers
    differ, or no row has two: nothing could have disagreed. (Hayes and Krippendorff 2007, doi
    10.1080/19312450709336664.)

    Examples
    --------
    >>> round(krippendorff_alpha([[1.0, 2.0], [3.0, 3.0], [5.0, 4.0]], "interval"), 3)
    0.833
    """
    a = _known(answers, kind)
    votes = (~np.isnan(a)).sum(axis=1)
    a, votes = a[votes > 1], votes[votes > 1]
    if not len(a):
        return float("nan")
    observed = np.average(_mean_distance(a, kind), weights=votes)
    expected = _mean_distance(a.reshape(1, -1), kind)[0]
    return float(1 - observed / expected) if expected > 0 else float("nan")


def majority(answers: npt.ArrayLike) -> Ints:
    """Return the class (n,) with the most answers to each row; -1, unresolved, on a tie and without answers.

    Examples
    --------
    >>> majority([[0, 0, 1], [0, 1, -1], [2, -1, -1], [-1, -1, -1]]).tolist()
    [0, -1, 2, -1]
    """
    votes, classes = _votes(_known(answers, "nominal"))
    if not len(classes):
        return np.full(len(votes), -1)
    most = votes.max(axis=1, keepdims=True)
    resolved = ((votes == most).sum(axis=1) == 1) & (most[:, 0] > 0)
    return np.where(resolved, classes[votes.argmax(axis=1)], -1).astype(np.int64)


def _known(answers: npt.ArrayLike, kind: Kind) -> Floats:
    """Return answers (n, r) as floats with NaN for none."""
    a = np.asarray(answers)
    if a.ndim != 2 or (kind == "nominal" and a.dtype.kind not in "iu"):
        expected = "class codes" if kind == "nominal" else "scores"
        raise AuditError(f"expected {expected} of shape (rows, reviewers), got {a.dtype} of shape {a.shape}")
    values = a.astype(np.float64)
    return np.where(values < 0, np.nan, values) if kind == "nominal" else values


def _votes(a: Floats) -> tuple[Ints, Floats]:
    """Return how many answers (n, k) each row gave to each of the k values that occur, and these (k,)."""
    row, _ = known = np.nonzero(~np.isnan(a))
    values, code = np.unique(a[known], return_inverse=True)
    k = len(values)
    return np.bincount(row * k + code, minlength=len(a) * k).reshape(len(a), k).astype(np.int64), values


def _mean_distance(a: Floats, kind: Kind) -> Floats:
    """Return the mean distance (n,) over pairs of a row's answers; NaN with fewer than two."""
    m = (~np.isnan(a)).sum(axis=1)
    if kind == "nominal":
        distances = m**2 - (_votes(a)[0] ** 2).sum(axis=1)
    else:
        shifted = np.nan_to_num(a - (np.nanmean(a) if m.any() else 0.0))  # a shift changes no distance
        distances = 2 * (m * (shifted**2).sum(axis=1) - shifted.sum(axis=1) ** 2)
    pairs = m * (m - 1)
    mean: Floats = np.divide(distances, pairs, out=np.full(len(a), np.nan), where=pairs > 0)
    return mean


@dataclass(frozen=True)
class Limits:
    """Low and high limits of percent agreement and of alpha, had other rows of the kind been answered."""

    same: tuple[float, float]
    alpha: tuple[float, float]


def limits(
    answers: npt.ArrayLike, kind: Kind = "nominal", level: float = 0.95, draws: int = 1000, seed: int = 0
) -> Limits:
    """Return percentile intervals of a bootstrap over rows, which keeps a row's answers together.

    Reviewers are those that they are: nothing is said of others. NaN where the value is not defined, or rows
    are fewer than two; draws in which alpha is not defined are left out. (Efron 1979, doi
    10.1214/aos/1176344552; for alpha Hayes and Krippendorff 2007 resample pairs, which takes those of a
    row as independent.)
    """
    a = _known(answers, kind)
    votes = (~np.isnan(a)).sum(axis=1)
    a, m = a[votes > 1], votes[votes > 1].astype(np.float64)
    n = len(a)
    if n < 2:
        return Limits((np.nan, np.nan), (np.nan, np.nan))
    apart, far = _mean_distance(a, "nominal"), _mean_distance(a, kind)
    if kind == "nominal":
        sums = _votes(a)[0].astype(np.float64)
    else:
        shifted = np.nan_to_num(a - np.nanmean(a))
        sums = np.stack([shifted.sum(axis=1), (shifted**2).sum(axis=1)], axis=1)
    parts = np.column_stack([np.ones(n), apart, m, m * far, sums])
    rng = np.random.default_rng(seed)
    # some draws at a time: the counts of a million rows take 8 MB a draw
    step = max(1, 10_000_000 // n)
    drawn = [
        rng.multinomial(n, np.full(n, 1 / n), min(step, draws - i)) @ parts for i in range(0, draws, step)
    ]
    ones, apart_sum, total, far_sum, *rest = np.concatenate(drawn).T
    if kind == "nominal":
        all_far = total**2 - np.sum(np.square(rest), axis=0)
    else:
        all_far = 2 * (total * rest[1] - rest[0] ** 2)
    expected = all_far / (total * (total - 1))
    defined = expected > 1e-12
    alpha = 1 - far_sum[defined] / total[defined] / expected[defined]
    tails = [(1 - level) / 2, (1 + level) / 2]
    same = np.quantile(1 - apart_sum / ones, tails)
    of_alpha = np.quantile(alpha, tails) if len(alpha) else np.full(2, np.nan)
    return Limits((float(same[0]), float(same[1])), (float(of_alpha[0]), float(of_alpha[1])))
