"""Votes weighted by the log-odds of each rule's accuracy (Nitzan and Paroush 1982, doi 10.2307/2526438).

A rule's accuracy is that on gold rows, drawn toward how often it agrees with the majority of the other rules
by as much as `AGREEMENT` gold rows would; without gold that alone. Where there is little of either, a rule is
taken to be right half of the way between chance and always: somebody wrote it. A rule that is no better than
chance decides ties alone.
"""

from __future__ import annotations

import numpy as np

from textlabel.rules.models import Floats, Labeled, class_prior, counts
from textlabel.trust.calibration import softmax
from textlabel.types import IntArray

#: gold rows that the agreement with other rules is worth
AGREEMENT = 4.0
#: agreements that the belief in a rule which nothing is known of is worth
_BELIEF = 2.0
#: no rule is taken to be surer than this, and none counts less
_MOST, _LEAST = 0.99, 0.01


def weighted(votes: IntArray, classes: int, gold: IntArray) -> Labeled:
    """Return probabilities (n, k), as if rules erred independently and their errors hit all classes alike."""
    accuracy = _accuracies(votes, gold, classes)
    sure = np.minimum(accuracy, _MOST)
    weights = np.maximum(np.log(sure * (classes - 1) / (1 - sure)), _LEAST)
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
        hits = np.sum(others.argmax(axis=1)[told] == column[told])
        agrees = (hits + _BELIEF * (1 + 1 / classes) / 2) / (told.sum() + _BELIEF)
        known = says & (gold >= 0)
        hits = np.sum(column[known] == gold[known])
        found.append((hits + AGREEMENT * agrees) / (known.sum() + AGREEMENT))
    return np.array(found)
