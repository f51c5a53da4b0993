"""Confidence as the absence of entropy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NAME = "entropy"


def score(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``1 - H / log k``, (n,) in [0, 1], of probabilities (n, k >= 2); 1 is surest.

    Examples
    --------
    >>> score([[0.5, 0.5], [1.0, 0.0]]).tolist()
    [0.0, 1.0]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    # 0 log 0 is 0: the log sees 1 there
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    surety: npt.NDArray[np.float64] = np.clip(1 - entropy / np.log(p.shape[1]), 0.0, 1.0)
    return surety
