"""Confidence as the lead of the most likely class over the next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NAME = "margin"


def score(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return largest minus second largest probability, (n,) in [0, 1], of probabilities (n, k >= 2).

    Examples
    --------
    >>> score([[0.75, 0.25, 0.0]]).tolist()
    [0.5]
    """
    second, first = np.partition(np.asarray(probabilities, dtype=np.float64), -2, axis=1)[:, -2:].T
    lead: npt.NDArray[np.float64] = first - second
    return lead
