"""What a certificate would probably bring, before anybody is asked: simulation on expected errors.

A forecast, not a promise. Each row is taken to be wrong with the probability that its calibrated confidence
says, independently of the others; where confidence is off, so is the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlabel.trust.certificate import Floats, tolerated
from textlabel.trust.certificates.finish import errors_allowed, least_rows, stop

#: audit sizes that a plan tries
SIZES = (60, 100, 150, 200, 300, 400, 500, 700, 1000)


@dataclass(frozen=True)
class Forecast:
    """What people would have to do for one tolerated error and one audit size.

    Parameters
    ----------
    max_error : share of wrong labels tolerated.
    audited : rows checked.
    least : fewest audited rows that can certify this at all.
    accepted : rows that keep the model's label, on average; ``low`` in one case of ten fewer than that.
    people : rows that people label in all, audit included, on average.
    hours : that takes.
    """

    max_error: float
    audited: int
    least: int
    accepted: int
    low: int
    people: int
    hours: float


def forecast(
    expected_error: npt.ArrayLike,
    size: int,
    max_error: float,
    alpha: float,
    *,
    seconds_per_row: float = 20.0,
    repeats: int = 200,
    seed: int = 0,
) -> Forecast:
    """Return what a ``finish`` certificate with ``size`` audited rows would probably bring.

    Parameters
    ----------
    expected_error : (n,) probability that the row at each rank is wrong, surest row first.
    alpha : level that the look may spend.

    Examples
    --------
    >>> forecast([0.01] * 800 + [0.3] * 200, 300, 0.05, 0.05).audited
    300
    """
    p = np.asarray(expected_error, dtype=np.float64)
    n, k = len(p), tolerated(max_error, len(p))
    c = errors_allowed(n, size, k, alpha)
    rng = np.random.default_rng(seed)
    accepted, people = np.zeros(repeats), np.full(repeats, float(n))
    for i in range(repeats if c >= 0 else 0):
        ranks = rng.choice(n, size, replace=False)
        accepted[i] = stop(n, np.sort(ranks[rng.random(size) < p[ranks]]), c)
        people[i] = n - accepted[i] + np.sum(ranks < accepted[i])
    return Forecast(
        max_error,
        size,
        least_rows(n, k, alpha),
        round(accepted.mean()),
        int(np.quantile(accepted, 0.1)),
        round(people.mean()),
        round(float(people.mean()) * seconds_per_row / 3600, 1),
    )


def recalibrated(
    expected_error: npt.ArrayLike, pilot_expected: npt.ArrayLike, pilot_wrong: npt.ArrayLike
) -> Floats:
    """Return expected errors corrected by a pilot: isotonic regression of being wrong on what was expected.

    Raises
    ------
    ValueError : the pilot is empty.

    Examples
    --------
    >>> recalibrated([0.1, 0.2], [0.1, 0.1, 0.2, 0.2], [False, True, True, True]).tolist()
    [0.5, 1.0]
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        np.asarray(pilot_expected, dtype=np.float64), np.asarray(pilot_wrong, dtype=np.float64)
    )
    corrected: Floats = fitted.predict(np.asarray(expected_error, dtype=np.float64))
    return corrected
