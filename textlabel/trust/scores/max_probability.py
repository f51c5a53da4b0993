"""Confidence as the probability of the most likely class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NAME = "max_probability"


def score(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the largest probability of each row, (n,) in [1/k, 1], of probabilities (n, k).

    Examples
    --------
    >>> score([[0.7, 0.2, 0.1]]).tolist()
    [0.7]
    """
    largest: npt.NDArray[np.float64] = np.asarray(probabilities, dtype=np.float64).max(axis=1)
    return largest
