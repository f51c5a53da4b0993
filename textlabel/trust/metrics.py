"""How good labels and their confidences are: pure functions on arrays (numpy only).

Arguments come truth first. ``confidence`` is the calibrated probability of the label given to a
row, ``correct`` says whether that label is right. Rows of equal confidence cannot be told apart,
so wherever rows are ordered, equal ones are treated as one step and no result depends on row order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: rows that a simulation draws at once: bounds its memory
_BLOCK = 1_000_000


def paired(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return both as float64 (n,); a `ValueError` unless they have one shape and n >= 1."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"expected two arrays of one shape (n,), n >= 1; got {a.shape} and {b.shape}")
    return a, b


def _midranks(values: Floats) -> Floats:
    """Return the rank of each value in (0, n), equal values sharing the middle of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - counts / 2)[inverse]


# --- labels: truth and prediction as class numbers ------------------------------------------------


@dataclass(frozen=True)
class ClassReport:
    """Precision, recall and F1 in [0, 1], true rows and predicted rows; each of shape (k,)."""

    precision: Floats
    recall: Floats
    f1: Floats
    support: Ints
    predicted: Ints

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that occur, as truth or as prediction (scikit-learn's rule)."""
        return float(self.f1[(self.support > 0) | (self.predicted > 0)].mean())


def accuracy(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the fraction of rows whose predicted class is the true one.

    Examples
    --------
    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    truth, said = paired(labels, predicted)
    return float(np.mean(truth == said))


def class_report(labels: npt.ArrayLike, predicted: npt.ArrayLike, k: int) -> ClassReport:
    """Return precision, recall, F1 and support of each of ``k`` classes; 0/0 counts as 0.

    Examples
    --------
    >>> class_report([0, 1, 1, 1], [0, 1, 1, 0], k=2).recall.round(3).tolist()
    [1.0, 0.667]
    """
    truth, said = (a.astype(np.int64) for a in paired(labels, predicted))
    hits = np.bincount(truth[truth == said], minlength=k)
    support, given = np.bincount(truth, minlength=k), np.bincount(said, minlength=k)
    precision, recall = hits / np.maximum(given, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(given + support, 1)
    return ClassReport(precision, recall, f1, support, given)


def quadratic_kappa(labels: npt.ArrayLike, predicted: npt.ArrayLike, k: int) -> float:
    """Return how much less ordered classes differ than by chance, by squared steps: quadratic weighted kappa.

    1 is perfect, 0 what shuffled predictions reach (Cohen 1968); NaN where both are one class.

    Examples
    --------
    >>> round(quadratic_kappa([0, 1, 2, 2], [0, 1, 1, 2], k=3), 3)
    0.8
    """
    truth, said = (a.astype(np.int64) for a in paired(labels, predicted))
    steps = np.arange(k)
    by_chance = np.bincount(truth, minlength=k)[:, None] * np.bincount(said, minlength=k) / len(truth)
    expected = float((by_chance * (steps[:, None] - steps) ** 2).sum())
    return 1 - float(((truth - said) ** 2).sum()) / expected if expected else float("nan")


def macro_f1(labels: npt.ArrayLike, predicted: npt.ArrayLike, k: int) -> float:
    """Return the mean F1 over the classes that occur in truth or prediction."""
    return class_report(labels, predicted, k).macro_f1


# --- calibration --------------------------------------------------------------------------------


def equal_mass_bins(confidence: Floats, bins: int) -> Ints:
    """Return each row's bin: where the middle of its tie group falls among ``bins`` equal shares."""
    # a group of equal confidences goes whole into one bin, so a bin may hold more, or none
    return (bins * _midranks(confidence) / len(confidence)).astype(np.int64)


def ece(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error in [0, 1], over bins of equal mass (adaptive ECE).

    Rows are ordered by confidence and cut into ``bins`` shares of n / bins rows; rows of equal
    confidence stay together, in the bin that holds the middle of their ranks. The error is
    the sum over bins of ``n_bin / n * abs(accuracy - mean confidence)`` (Nixon 2019, arXiv 1904.01685).
    It is biased upward at small n: read it beside `ece_interval` and `ece_if_perfect`.

    Examples
    --------
    >>> round(ece([0.9, 0.9, 0.9, 0.9], [1, 1, 0, 1]), 3)
    0.15
    """
    sure, right = paired(confidence, correct)
    gaps = np.bincount(equal_mass_bins(sure, bins), weights=right - sure)
    return float(np.abs(gaps).sum() / len(sure))


def blocks(repeats: int, n: int) -> Iterator[int]:
    """Yield how many repeats of ``n`` rows to draw at a time, ``repeats`` in all."""
    block = max(1, _BLOCK // n)
    for done in range(0, repeats, block):
        yield min(block, repeats - done)


def _binned_errors(gaps: Floats, bins: Ints) -> Floats:
    """Return the calibration error of each row of ``gaps`` (repeats, n) with their bins, same shape."""
    repeats, n = gaps.shape
    width = int(bins.max()) + 1
    cell = bins + width * np.arange(repeats)[:, None]
    sums = np.bincount(cell.ravel(), weights=gaps.ravel(), minlength=repeats * width)
    errors: Floats = np.abs(sums.reshape(repeats, width)).sum(axis=1) / n
    return errors


def ece_interval(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    bins: int = 15,
    *,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the bootstrap percentile interval of `ece` at confidence level ``level``.

    Rows are resampled with replacement and keep the bin they have in the full data. Resampling
    adds noise of its own, so near perfect calibration the interval lies high, as `ece` itself does:
    miscalibration is shown when its lower end exceeds `ece_if_perfect`.
    """
    sure, right = paired(confidence, correct)
    n, gap, bin_of = len(sure), right - sure, equal_mass_bins(sure, bins)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, n, size=(size, n)) for size in blocks(resamples, n))
    errors = np.concatenate([_binned_errors(gap[rows], bin_of[rows]) for rows in draws])
    low, high = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ece_if_perfect(confidence: npt.ArrayLike, bins: int = 15, *, repeats: int = 200, seed: int = 0) -> float:
    """Return the mean `ece` that these confidences would show if every one of them were exact.

    Each row is right with its own confidence as probability; what is left is chance, the floor
    below which no measured ECE at this n means anything.
    """
    sure, _ = paired(confidence, confidence)
    bin_of = equal_mass_bins(sure, bins)
    rng = np.random.default_rng(seed)
    errors = [
        _binned_errors(
            (rng.random((size, len(sure))) < sure) - sure, np.broadcast_to(bin_of, (size, len(sure)))
        )
        for size in blocks(repeats, len(sure))
    ]
    return float(np.concatenate(errors).mean())


def _truth_and_rows(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> tuple[Ints, Floats]:
    truth, p = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or truth.shape != p.shape[:1] or not len(p):
        raise ValueError(
            f"expected labels (n,) and probabilities (n, k), n >= 1; got {truth.shape} and {p.shape}"
        )
    return truth, p


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the multi-class Brier score in [0, 2]: mean squared distance to the one-hot truth.

    Two classes give twice the binary Brier score.

    Examples
    --------
    >>> round(brier([0, 1], [[0.8, 0.2], [0.4, 0.6]]), 3)
    0.2
    """
    truth, p = _truth_and_rows(labels, probabilities)
    return float(np.mean(np.sum((p - np.eye(p.shape[1])[truth]) ** 2, axis=1)))


def nll(labels: npt.ArrayLike, probabilities: npt.ArrayLike, floor: float = 1e-12) -> float:
    """Return the mean negative log-likelihood in nats; probabilities below ``floor`` count as it.

    Examples
    --------
    >>> round(nll([0, 1], [[0.5, 0.5], [0.0, 1.0]]), 3)
    0.347
    """
    truth, p = _truth_and_rows(labels, probabilities)
    return float(-np.log(np.maximum(p[np.arange(len(truth)), truth], floor)).mean())


# --- selection: keep the surest rows --------------------------------------------------------------


@dataclass(frozen=True)
class RiskCoverage:
    """What accepting everything at or above a confidence costs, one entry per distinct confidence.

    Parameters
    ----------
    confidence : (s,) the distinct confidences, descending.
    fraction_accepted : (s,) share of rows at or above it, in (0, 1].
    error : (s,) share of wrong labels among those, in [0, 1].
    """

    confidence: Floats
    fraction_accepted: Floats
    error: Floats

    @property
    def aurc(self) -> float:
        """Area under the curve in [0, 1]: each row weighs the error of the step that accepts it."""
        return float(np.sum(self.error * np.diff(self.fraction_accepted, prepend=0.0)))


def _accepted(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[Floats, Ints, Floats]:
    """Return distinct confidences, descending, with accepted rows and right ones so far."""
    sure, right = paired(confidence, correct)
    values, inverse, counts = np.unique(-sure, return_inverse=True, return_counts=True)
    return -values, np.cumsum(counts), np.cumsum(np.bincount(inverse, weights=right))


def risk_coverage(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> RiskCoverage:
    """Return the error of the accepted rows as more are accepted, most confident first.

    Examples
    --------
    >>> curve = risk_coverage([0.9, 0.8, 0.8, 0.6], [1, 1, 0, 0])
    >>> curve.fraction_accepted.tolist(), curve.error.round(3).tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.333, 0.5])
    """
    values, taken, right = _accepted(confidence, correct)
    return RiskCoverage(values, taken / taken[-1], 1 - right / taken)


def fraction_accepted_at(precision: float, confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Return the largest fraction of rows, most confident first, of which ``precision`` are right.

    It is found by looking at the answers: a description of these rows, not a promise about others.

    Examples
    --------
    >>> fraction_accepted_at(0.6, [0.9, 0.8, 0.8, 0.6], [1, 1, 0, 0])
    0.75
    """
    _, taken, right = _accepted(confidence, correct)
    # counts, not ratios, and a hair of slack: 19 of 20 must reach 0.95
    enough = np.flatnonzero(right >= precision * taken - 1e-9)
    return float(taken[enough[-1]] / taken[-1]) if len(enough) else 0.0


# --- scores ---------------------------------------------------------------------------------------


def mae(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the mean absolute error, in the unit of the score."""
    a, b = paired(truth, predicted)
    return float(np.abs(a - b).mean())


def rmse(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the root mean squared error, in the unit of the score."""
    a, b = paired(truth, predicted)
    return float(np.sqrt(np.mean((a - b) ** 2)))


def pearson(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the linear correlation in [-1, 1]; not a number when either side is constant."""
    a, b = (values - values.mean() for values in paired(truth, predicted))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def spearman(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the rank correlation in [-1, 1], equal values sharing their mean rank.

    Examples
    --------
    >>> spearman([1.0, 2.0, 3.0], [0.1, 0.5, 9.0])
    1.0
    """
    a, b = paired(truth, predicted)
    return pearson(_midranks(a), _midranks(b))
