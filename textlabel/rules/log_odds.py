"""Votes weighted by the log-odds of each rule's accuracy (Nitzan and Paroush 1982, doi 10.2307/2526438).

A rule's accuracy is that on gold rows, drawn toward how often it agrees with the majority of the other rules
by as much as `AGREEMENT` gold rows would; without gold that alone. A rule worse than chance counts nothing.
"""

from __future__ import annotations

import numpy as np

from textlabel.rules.models import Floats, Labeled, class_prior, counts
from textlabel.trust.calibration import softmax
from textlabel.types import IntArray

#: gold rows that the agreement with other rules is worth
AGREEMENT = 4.0
#: no rule is taken to be surer than this
_MOST = 0.99


def weighted(votes: IntArray, classes: int, gold: IntArray) -> Labeled:
    """Return probabilities (n, k), as if rules erred independently and their errors hit all classes alike."""
    accuracy = _accuracies(votes, gold, classes)
    sure = np.minimum(accuracy, _MOST)
    weights = np.maximum(np.log(sure * (classes - 1) / (1 - sure)), 0.0)
    prior = class_prior(gold, classes)
    said = np.tile(np.log(prior), (len(votes), 1))
    for column, weight in zip(votes.T, weights, strict=True):
        said += weight * (column[:, None] == np.arange(classes))
    learned = {"accuracy": accuracy.tolist(), "weights": weights.tolist(), "class_shares": prior.tolist()}
    return Labeled(softmax(said), learned)


def _accuracies(votes: IntArray, gold: IntArray, classes: int) -> Floats:
    """Return the accuracy of each rule (m,) in (0, 1)."""
    every = counts(votes, classes)
    found = []
    for column in votes.T:
        says = column >= 0
        others = every - (column[:, None] == np.arange(classes))
        top = others.max(axis=1)
        told = says & (top > 0) & ((others == top[:, None]).sum(axis=1) == 1)  # a tie tells nothing
        agrees = (np.sum(others.argmax(axis=1)[told] == column[told]) + 1) / (told.sum() + classes)
        known = says & (gold >= 0)
        hits = np.sum(column[known] == gold[known])
        found.append((hits + AGREEMENT * agrees) / (known.sum() + AGREEMENT))
    return np.array(found)
