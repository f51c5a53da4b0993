"""Votes weighted by how often each rule is right, by gold and agreement with the others (`log_odds`)."""

from __future__ import annotations

import numpy.typing as npt

from textlabel.rules.log_odds import weighted
from textlabel.rules.models import Labeled, checked

NAME = "weighted_majority"


def fit_predict(votes: npt.ArrayLike, classes: int, gold: npt.ArrayLike | None = None) -> Labeled:
    """Return probabilities (n, k); without votes a row gets the shares of classes in gold.

    Examples
    --------
    >>> votes = [[0, 1, 1], [0, 1, 1], [1, 0, 0], [1, 0, 1]] * 5
    >>> fit_predict(votes, 2, [0, 0, 1, 1] * 5).probabilities.argmax(axis=1)[:4].tolist()
    [0, 0, 1, 1]
    """
    v, g = checked(votes, classes, gold)
    return weighted(v, classes, g)
