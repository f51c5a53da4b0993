"""Numbers about the corpus: class shares and mean scores, with intervals, from model labels plus audits.

What is estimated: the mean of the true answers over the ``n`` rows of this corpus, each of which has a model
label; with ``beyond=True``, over the source that the corpus is an independent sample of. What is random:
which ``m`` rows people answered, a uniform draw without replacement. Nothing is assumed about the model: a
bad one makes intervals as wide as those of the audit alone. The estimate is that of
`textlabel.trust.prediction_powered`.

Method of the interval, which misses with probability at most ``alpha``:

- "normal", approximately: see `textlabel.trust.prediction_powered`, which also says when errors are enough.
  Audited shares move in steps of ``1 / m``, so half a step is added to either side. Where errors are few:
- "exact" (shares), always: `textlabel.trust.exact.limits`, or Clopper-Pearson limits (1934, doi
  10.1093/biomet/26.4.404) of the audit alone for the source.
- "bounded" (scores between known bounds), always: Hoeffding's inequality, in Serfling's version for draws
  without replacement (1974, doi 10.1214/aos/1176342611).
- "none": nothing is known beyond what is possible.

No interval leaves what is possible: what people found already, and what they have not refuted.

Unresolved answers (skipped, unsure) are filled with the worst: the interval spans the one where none of them
is of the class (or all have the lowest score) and the one where all are. Exact and bounded limits rise with
every answer, so theirs hold whatever the answers would have been; for normal ones that is as approximate as
they are. The estimate is the middle of the two.

Slices: given how many audited rows fall into a slice, they are a uniform draw from it, so each slice is a
corpus of its own. Each interval holds by itself; ``together=True`` divides ``alpha`` by their number, and
then all hold at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlabel.errors import AuditError
from textlabel.trust.exact import Counts, binomial_limits, limits
from textlabel.trust.prediction_powered import normal_interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNRESOLVED = -1

#: scores can be more skewed than an audit shows, and carry no half step: they need twice the residuals
_CAUTION = 0.5


@dataclass(frozen=True)
class Share:
    """One number about the corpus with its interval.

    Parameters
    ----------
    name : the class, or "score".
    estimate : share in [0, 1] or mean score; NaN where nothing was audited.
    low, high : ends of the interval.
    audited, n : audited rows and all rows, of the slice.
    method : "normal" (approximate), "exact" or "bounded" (proven), "none"; see this module.
    slice : value of the column by which the corpus was cut; "" for the whole corpus.
    """

    name: str
    estimate: float
    low: float
    high: float
    audited: int
    n: int
    method: str
    slice: str = ""


def shares(
    predicted: npt.ArrayLike,
    answers: npt.ArrayLike,
    audited: npt.ArrayLike,
    k: int,
    *,
    alpha: float = 0.05,
    by: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
    together: bool = False,
    beyond: bool = False,
) -> list[Share]:
    """Return the share of each of ``k`` classes among true answers, per slice; see this module's promise.

    With probabilities instead of labels, `mean_score` of one class's column is narrower where it is normal.

    Parameters
    ----------
    predicted : (n,) model's class of every row, in [0, k).
    answers : (m,) people's class of the audited rows, -1 where unresolved.
    audited : (m,) distinct row numbers, drawn uniformly without replacement.
    alpha : probability in (0, 1) with which an interval may miss.
    by : (n,) slice of every row.
    names : of the classes; by default their numbers.
    together : all intervals hold at once at ``1 - alpha`` (Bonferroni).
    beyond : the number is about the source that this corpus is a sample of.

    Raises
    ------
    AuditError : arrays that do not fit each other, a row audited twice, a class outside [0, k).

    Examples
    --------
    >>> predicted = np.repeat([0, 1], [600, 400])
    >>> audited = np.arange(0, 1000, 10)
    >>> answers = np.where(audited < 580, 0, 1)             # 2 of the 60 audited zeros are ones
    >>> one = shares(predicted, answers, audited, k=2)[1]
    >>> round(one.estimate, 3), round(one.low, 3), round(one.high, 3), one.method
    (0.42, 0.365, 0.472, 'exact')
    """
    said = _classes(predicted, k, "predicted")
    truth = _classes(answers, k, "answers", least=UNRESOLVED)
    rows, group, slices = _checked(said, truth, audited, alpha, by)
    alpha = alpha / (k * len(slices)) if together else alpha
    counts, filled = _counts(said, truth, rows, group, len(slices), k)
    none, every = (_share_limits(c, alpha, beyond) for c in (counts, filled))
    low, high = np.minimum(none[0], every[0]), np.maximum(none[2], every[2])
    estimate, normal = np.clip((none[1] + every[1]) / 2, low, high), none[3] | every[3]
    names = [str(c) for c in range(k)] if names is None else names
    return [
        Share(
            names[c],
            float(estimate[g, c]),
            float(low[g, c]),
            float(high[g, c]),
            int(counts.m[g, c]),
            int(counts.n[g, c]),
            "none" if not counts.m[g, c] else "normal" if normal[g, c] else "exact",
            slices[g],
        )
        for g in range(len(slices))
        for c in range(k)
    ]


def mean_score(
    predicted: npt.ArrayLike,
    answers: npt.ArrayLike,
    audited: npt.ArrayLike,
    *,
    bounds: tuple[float, float] | None = None,
    alpha: float = 0.05,
    by: npt.ArrayLike | None = None,
    together: bool = False,
    beyond: bool = False,
) -> list[Share]:
    """Return the mean true score per slice; see this module's promise.

    Parameters
    ----------
    predicted : (n,) model's score of every row, finite.
    answers : (m,) people's score of the audited rows, NaN where unresolved.
    audited : (m,) distinct row numbers, drawn uniformly without replacement.
    bounds : lowest and highest possible score. Without them, too few answers give no interval.
    alpha, by, together, beyond : as for `shares`.

    Raises
    ------
    AuditError : as `shares`; an answer outside the bounds; an unresolved one without bounds.

    Examples
    --------
    >>> predicted = np.linspace(0, 1, 1000)
    >>> audited = np.arange(5, 1000, 10)
    >>> found = mean_score(predicted, predicted[audited] ** 2, audited)[0]
    >>> round(found.estimate, 3), round(found.low, 2), round(found.high, 2)
    (0.333, 0.32, 0.35)
    """
    f, y = np.asarray(predicted, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    rows, group, slices = _checked(f, y, audited, alpha, by)
    if not np.isfinite(f).all():
        raise AuditError(f"row {int(np.flatnonzero(~np.isfinite(f))[0])} has no finite predicted score")
    low, high = _bounds(y, bounds)
    alpha = alpha / len(slices) if together else alpha
    sizes = np.bincount(group, minlength=len(slices))
    means = np.bincount(group, weights=f, minlength=len(slices)) / sizes
    order = np.argsort(group[rows], kind="stable")
    cuts = np.searchsorted(group[rows][order], np.arange(1, len(slices)))
    found = []
    for name, n, mean, at in zip(slices, sizes.tolist(), means, np.split(order, cuts), strict=True):
        ends = [
            _score_limits(
                mean, f[rows[at]], np.where(np.isnan(y[at]), fill, y[at]), n, (low, high), alpha, beyond
            )
            for fill in (low, high)
        ]
        lows, estimates, highs, normal = zip(*ends, strict=True)
        estimate = float(np.clip(sum(estimates) / 2, min(lows), max(highs)))
        few = "exact" if len(at) == n and not beyond else "bounded" if len(at) and bounds else "none"
        method = "normal" if any(normal) else few
        found.append(Share("score", estimate, min(lows), max(highs), len(at), n, method, name))
    return found


# --- input ----------------------------------------------------------------------------------------


def _classes(values: npt.ArrayLike, k: int, what: str, least: int = 0) -> Ints:
    codes = np.asarray(values)
    if len(codes) and not (codes.dtype.kind in "iu" and least <= codes.min() <= codes.max() < k):
        raise AuditError(
            f"{what}: expected class numbers from {least} to {k - 1}, got {codes.dtype} {codes[:5]}"
        )
    return codes.astype(np.int64)


def _checked(
    predicted: npt.NDArray[np.generic],
    answers: npt.NDArray[np.generic],
    audited: npt.ArrayLike,
    alpha: float,
    by: npt.ArrayLike | None,
) -> tuple[Ints, Ints, list[str]]:
    """Return audited row numbers (m,), the slice number of every row (n,), and the slices' names."""
    rows, n = np.asarray(audited).astype(np.int64), len(predicted)
    if predicted.ndim != 1 or not n or answers.ndim != 1 or rows.shape != answers.shape:
        raise AuditError(
            "expected predictions (n,), n >= 1, answers (m,) and audited row numbers (m,); "
            f"got {predicted.shape}, {answers.shape} and {rows.shape}"
        )
    if len(rows) and not 0 <= rows.min() <= rows.max() < n:
        raise AuditError(f"expected audited row numbers in [0, {n}), got {rows.min()} to {rows.max()}")
    if len(np.unique(rows)) != len(rows):
        raise AuditError("a row was audited twice; expected rows drawn without replacement")
    if not 0 < alpha < 1:
        raise AuditError(
            f"alpha = {alpha}: expected the chance that an interval misses in (0, 1), such as 0.05"
        )
    if by is None:
        return rows, np.zeros(n, dtype=np.int64), [""]
    column = np.asarray(by)
    values, group = np.unique(column.astype(str) if column.dtype == object else column, return_inverse=True)
    if group.shape != (n,):
        raise AuditError(f"by: expected one slice a row ({n}), got {group.shape}")
    return rows, group, [str(v) for v in values]


def _bounds(answers: Floats, bounds: tuple[float, float] | None) -> tuple[float, float]:
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if not low < high:
        raise AuditError(f"bounds: expected the lowest and the highest score, got {bounds}")
    if bounds is None and np.isnan(answers).any():
        at = int(np.flatnonzero(np.isnan(answers))[0])
        raise AuditError(f"answer {at} is unresolved: resolve it, or give bounds=(lowest, highest) score")
    outside = (answers < low) | (answers > high) | np.isinf(answers)
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise AuditError(f"answer {at} is {answers[at]}; expected a score from {low} to {high}")
    return low, high


# --- shares ---------------------------------------------------------------------------------------


def _counts(said: Ints, truth: Ints, rows: Ints, group: Ints, slices: int, k: int) -> tuple[Counts, Counts]:
    """Return counts (slices, k): where no unresolved row is of the class, and where every one is."""

    def table(groups: Ints, classes: Ints) -> Ints:
        return np.bincount(groups * k + classes, minlength=slices * k).reshape(slices, k).astype(np.int64)

    g, f = group[rows], said[rows]
    known, right = truth != UNRESOLVED, truth == f
    everything, drawn, hits = table(group, said), table(g, f), table(g[right], f[right])
    inside = table(g[~known], f[~known])
    outside = inside.sum(axis=1, keepdims=True) - inside
    misses = table(g[known], truth[known]) - hits
    n, m = (np.repeat(a.sum(axis=1, keepdims=True), k, axis=1) for a in (everything, drawn))
    return (
        Counts(n, everything, m, drawn, hits, misses),
        Counts(n, everything, m, drawn, hits + inside, misses + outside),
    )


def _share_limits(c: Counts, alpha: float, beyond: bool) -> tuple[Floats, Floats, Floats, Bools]:
    """Return low, estimate, high, and where they are normal; each of the shape of the counts."""
    cells = np.stack([c.hits, c.m_said - c.hits, c.misses, c.m - c.m_said - c.misses], axis=-1)
    f, y = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    estimate, reach, normal = normal_interval(c.said / c.n, f, y, cells, c.n, alpha, beyond=beyond)
    step = 0.5 / np.maximum(c.m, 1)
    low, high = estimate - reach - step, estimate + reach + step
    low[~normal], high[~normal] = _few(c[~normal], alpha, beyond)
    found = c.hits + c.misses
    least, most = (0.0, 1.0) if beyond else (found / c.n, (c.n - (c.m - found)) / c.n)
    return np.maximum(low, least), estimate, np.minimum(high, most), normal


def _few(c: Counts, alpha: float, beyond: bool) -> tuple[Floats, Floats]:
    """Return the exact limits of shares: of the corpus, or of the source (Clopper and Pearson 1934)."""
    if not beyond:
        least, most = limits(c, alpha)
        return least / c.n, most / c.n
    return binomial_limits(c.hits + c.misses, c.m, alpha)


# --- scores ---------------------------------------------------------------------------------------


def _score_limits(
    mean: float, f: Floats, y: Floats, n: int, bounds: tuple[float, float], alpha: float, beyond: bool
) -> tuple[float, float, float, bool]:
    """Return low, estimate, high, and whether they are normal."""
    m, (low, high) = len(y), bounds
    center, reach, normal = (
        a.item() for a in normal_interval(mean, f, y, np.ones(m), n, alpha, beyond=beyond, caution=_CAUTION)
    )
    estimate = float(center)
    if not normal:
        left = 1.0 if beyond else 1 - (m - 1) / n
        reach = (high - low) * np.sqrt(left * np.log(2 / alpha) / (2 * m)) if m else np.inf
        center = y.mean() if m else 0.0
    seen, left = (0.0, 1.0) if beyond else (y.sum() / n, 1 - m / n)
    least, most = (seen + left * end if left else seen for end in (low, high))
    return float(max(center - reach, least)), estimate, float(min(center + reach, most)), bool(normal)
