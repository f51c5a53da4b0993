"""The share of votes for each class: the baseline that nothing beats on average (WRENCH, arXiv 2109.11377).

A tie goes to the class that is more frequent in gold, without gold to the first class. Where all rules
abstain the probabilities are the shares of classes in gold, smoothed.
"""

from __future__ import annotations

import numpy.typing as npt

from textlabel.rules.models import Labeled, checked, class_prior, counts

NAME = "majority"

#: votes that all classes share; so few that they decide only ties and rows without votes
_TIE = 1e-6


def fit_predict(votes: npt.ArrayLike, classes: int, gold: npt.ArrayLike | None = None) -> Labeled:
    """Return shares of votes (n, k).

    Examples
    --------
    >>> fit_predict([[0, 0, 1], [-1, 1, -1]], 2).probabilities.round(2).tolist()
    [[0.67, 0.33], [0.0, 1.0]]
    """
    v, g = checked(votes, classes, gold)
    prior = class_prior(g, classes)
    shares = counts(v, classes) + _TIE * prior
    return Labeled(shares / shares.sum(axis=1, keepdims=True), {"class_shares": prior.tolist()})
