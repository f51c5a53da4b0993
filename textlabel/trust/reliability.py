"""Whether confidence means what it says: a reliability table, and calibration errors without their bias.

An expected calibration error is never below zero, so chance alone makes it positive, and the more bins
the more. Two remedies stand here beside `textlabel.trust.metrics.ece_if_perfect`: an error whose noise is
subtracted, and one that needs no bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from textlabel.trust.metrics import blocks, equal_mass_bins, paired

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Rows of similar confidence.

    Parameters
    ----------
    n : rows.
    confidence : their mean confidence.
    accuracy : the share that is right.
    low, high : Wilson interval of that share.
    """

    n: int
    confidence: float
    accuracy: float
    low: float
    high: float


def reliability(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 10, *, level: float = 0.95
) -> tuple[Bin, ...]:
    """Return bins of equal mass, from least to most confident; rows of one confidence share a bin.

    The accuracy's interval is Wilson's (1927, doi 10.1080/01621459.1927.10502953): it holds the accuracy of
    such rows in about ``level`` of all draws, each bin by itself and not all of them at once.

    Examples
    --------
    >>> [b] = reliability([0.9] * 10, [1] * 8 + [0] * 2)
    >>> b.n, b.accuracy, round(b.low, 3), round(b.high, 3)
    (10, 0.8, 0.49, 0.943)
    """
    sure, right = paired(confidence, correct)
    bin_of = np.unique(equal_mass_bins(sure, bins), return_inverse=True)[1]
    n = np.bincount(bin_of)
    mean, accuracy = (np.bincount(bin_of, weights=values) / n for values in (sure, right))
    low, high = wilson(accuracy, n, level)
    columns = zip(n.tolist(), mean.tolist(), accuracy.tolist(), low.tolist(), high.tolist(), strict=True)
    return tuple(Bin(*row) for row in columns)


def wilson(share: npt.ArrayLike, n: npt.ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return low and high ends of Wilson's interval of a binomial share, element by element.

    Examples
    --------
    >>> [float(end.round(3)) for end in wilson(0.0, 10)]
    [0.0, 0.278]
    """
    p, rows = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = NormalDist().inv_cdf((1 + level) / 2) ** 2
    middle = (p + z2 / (2 * rows)) / (1 + z2 / rows)
    half = np.sqrt(z2 * (p * (1 - p) + z2 / (4 * rows)) / rows) / (1 + z2 / rows)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def squared_error_debiased(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> float:
    """Return the mean squared calibration error of bins of equal mass, without the part that is noise.

    ``sum_b n_b / n (gap_b^2 - s_b^2 / n_b)`` with ``gap_b`` the mean and ``s_b^2`` the sample variance of
    ``correct - confidence`` in bin b: for given bins each term is unbiased, because ``E gap_b^2`` exceeds the
    squared true gap by just ``Var / n_b``. Where confidence is constant within bins this is the debiased
    estimator of Kumar, Liang, Ma 2019 (arXiv 1909.10155), which subtracts ``acc (1 - acc) / (n_b - 1)``; see
    also Bröcker 2012 (doi 10.1007/s00382-011-1191-1). Bins of one row tell nothing of their noise and
    count as 0.

    It may be negative: then chance explains all. What varies within a bin is not seen.

    Examples
    --------
    >>> round(squared_error_debiased([0.5] * 4, [1, 1, 1, 1]), 4), squared_error_debiased([0.5] * 2, [0, 1])
    (0.25, -0.25)
    """
    sure, right = paired(confidence, correct)
    bin_of, gap = equal_mass_bins(sure, bins), right - sure
    n = np.bincount(bin_of)
    mean = np.bincount(bin_of, weights=gap) / np.maximum(n, 1)
    squares = np.bincount(bin_of, weights=(gap - mean[bin_of]) ** 2)
    noise = squares / np.maximum(n * (n - 1), 1)
    return float(np.sum(np.where(n > 1, n * (mean**2 - noise), 0.0)) / len(gap))


def error_debiased(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> float:
    """Return the root of `squared_error_debiased`, in [0, 1]; 0 where that is negative.

    Examples
    --------
    >>> error_debiased([0.5] * 4, [1, 1, 1, 1])
    0.5
    """
    return float(np.sqrt(max(squared_error_debiased(confidence, correct, bins), 0.0)))


def ks_error(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Return the largest gap in [0, 1] between summed confidence and summed right rows, least sure first.

    ``max_c |sum over rows of confidence <= c of (correct - confidence)| / n``: no bins, so nothing to choose
    (Gupta et al. 2021, arXiv 2006.12800). Rows of one confidence are one step.

    Examples
    --------
    >>> round(ks_error([0.9, 0.9, 0.6, 0.6], [1, 1, 0, 0]), 3)
    0.3
    """
    sure, right = paired(confidence, correct)
    _, step = np.unique(sure, return_inverse=True)
    return float(np.abs(np.cumsum(np.bincount(step, weights=right - sure))).max() / len(sure))


def ks_if_perfect(confidence: npt.ArrayLike, *, repeats: int = 100, seed: int = 0) -> float:
    """Return the mean `ks_error` that these confidences would show if every one of them were exact."""
    sure = np.sort(paired(confidence, confidence)[0])
    last = np.append(np.diff(sure) > 0, True)  # only the end of a run of equal confidences is a step
    rng = np.random.default_rng(seed)
    errors = []
    for size in blocks(repeats, len(sure)):
        walk = np.cumsum((rng.random((size, len(sure))) < sure) - sure, axis=1)
        errors.append(np.abs(walk[:, last]).max(axis=1) / len(sure))
    return float(np.concatenate(errors).mean())
