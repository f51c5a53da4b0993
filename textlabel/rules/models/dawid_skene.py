"""Dawid and Skene 1979: each rule has its own table of confusions, learned from votes alone, without gold.

It begins with the majority. Where most rules are worse than chance it may swap classes; `anchored` may not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textlabel.rules import ABSTAIN
from textlabel.rules.confusions import SMOOTHING, em
from textlabel.rules.models import Labeled, checked, class_prior, counts

NAME = "dawid_skene"


def fit_predict(
    votes: npt.ArrayLike, classes: int, gold: npt.ArrayLike | None = None, smoothing: float = SMOOTHING
) -> Labeled:
    """Return probabilities (n, k); gold rows are not read but for the class shares of ties.

    Examples
    --------
    >>> fit_predict([[0, 0, 1], [1, 1, 1], [0, 0, 0]], 2).probabilities.argmax(axis=1).tolist()
    [0, 1, 0]
    """
    v, g = checked(votes, classes, gold)
    start = counts(v, classes) + 1e-6 * class_prior(g, classes)
    return em(v, start / start.sum(axis=1, keepdims=True), np.full(len(v), ABSTAIN), smoothing)
