"""The mean of true answers over a corpus from a model's answers for all rows and people's for some.

Random is which ``m`` of the ``n`` rows people answered: a uniform draw without replacement. The estimate is
``mean_n(l f) + mean_m(y - l f)`` with ``l = Cov(y, f) / Var(f)`` among audited rows, clipped to [0, 1]. The
first mean is a constant of the corpus, so the variance over draws is that of the second, ``Var(y - l f) / m *
(1 - m / n)``, which this ``l`` makes smallest. A useless model gets an ``l`` near 0 and costs nothing.

It is prediction-powered inference with power tuning (PPI++: Angelopoulos, Duchi, Zrnic 2023, arXiv
2311.01453), which is the difference estimator of survey sampling: PPI++ with the n - m other rows as its
unlabeled data uses ``(1 - m / n) l``, and both estimates are one. With ``beyond`` the corpus is itself an
independent sample, the mean is that of its source, and ``Var(y) / n`` is added (the variance of the mean
over a corpus, by the law of total variance); the variances of both then agree, too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: residuals whose squares sum to less than this share of those of the answers are rounding, not residuals
_ROUNDING = 1e-12


def normal_interval(
    mean: npt.ArrayLike,
    f: npt.ArrayLike,
    y: npt.ArrayLike,
    weight: npt.ArrayLike,
    n: npt.ArrayLike,
    alpha: float,
    *,
    beyond: bool = False,
    caution: float = 1.0,
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return the estimate (NaN without answers), its reach to either side, and whether the reach may be used.

    Reach: standard error times the Student quantile with m - 2 degrees of freedom, an approximation. It may
    be used where residuals d are many and even enough to be nearly normal: with z the normal quantile and ``o
    = caution (1 - m / n)``, where ``o (sum d^2)^2 >= z^2 sum d^4`` (their number over their kurtosis) and ``o
    (sum d^2)^3 >= 2 z^2 (sum d^3)^2`` (over their squared skewness). Where errors are few both count them: at
    95 %, 8 errors of one kind, or 4 if both kinds balance. Simulated and enumerated in the tests. A model
    that was never wrong has no normal interval.

    Parameters
    ----------
    mean : (...) mean prediction over all ``n`` (...) rows.
    f, y : (cells,) predictions and answers of audited rows.
    weight : (..., cells) how many audited rows there are of each.
    caution : in (0, 1]; below 1, more residuals are asked for.

    Examples
    --------
    >>> cells = {"f": [0, 0, 1, 1], "y": [0, 1, 0, 1], "weight": [40, 10, 10, 40]}
    >>> estimate, reach, enough = normal_interval(0.5, **cells, n=9999, alpha=0.05)
    >>> round(estimate.item(), 2), round(reach.item(), 3), enough.item()
    (0.5, 0.08, True)
    """
    from scipy.stats import norm, t

    mean, f, y, w, n = (np.asarray(a, dtype=np.float64) for a in (mean, f, y, weight, n))
    m = w.sum(axis=-1)
    some = np.maximum(m, 1)

    def average(values: Floats) -> Floats:
        mean_of: Floats = (w * values).sum(axis=-1) / some
        return mean_of

    mean_f, mean_y = average(f), average(y)
    df, dy = f - mean_f[..., None], y - mean_y[..., None]
    slope = np.divide(average(df * dy), average(df**2), out=np.zeros_like(m), where=average(df**2) > 0)
    tuned = np.clip(slope, 0, 1)
    d = dy - tuned[..., None] * df
    second, third, fourth, spread = average(d**2), average(d**3), average(d**4), average(dy**2)
    variance = second / np.maximum(m - 2, 1) * (1 - m / n)
    open_ = m * (1 - m / n)
    if beyond:
        variance, open_ = variance + spread * some / np.maximum(m - 1, 1) / n, m
    open_ = caution * open_
    squared = norm.ppf(1 - alpha / 2) ** 2
    many, even = open_ * second**2 >= squared * fourth, open_ * second**3 >= 2 * squared * third**2
    enough = (m > 2) & (second > _ROUNDING * spread) & many & even
    reach = t.ppf(1 - alpha / 2, np.maximum(m - 2, 1)) * np.sqrt(variance)
    return np.where(m > 0, mean_y + tuned * (mean - mean_f), np.nan), reach, enough
