"""Expectation maximization for rules that each confuse classes in their own way (Dawid and Skene 1979).

doi 10.2307/2346806. That a rule abstains is a vote of its own kind: a rule that knows one class only would
tell nothing else, since all that it says, it says of every class. Logs are added, and all counts smoothed, so
nothing underflows and no class dies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from textlabel.rules.models import Floats, Labeled
from textlabel.trust.calibration import softmax
from textlabel.types import IntArray

#: rows added to each cell of a rule's table
SMOOTHING = 0.1
ROUNDS = 1000
_TOLERANCE = 1e-6


class Confusions(NamedTuple):
    """Shares of classes (k,), and for each rule what it says of each class (m, k, k + 1), abstaining last."""

    prior: Floats
    tables: Floats


def em(votes: IntArray, start: Floats, gold: IntArray, smoothing: float = SMOOTHING) -> Labeled:
    """Return probabilities (n, k) and what was learned of the rules.

    Parameters
    ----------
    votes : (n, m).
    start : (n, k) probabilities to begin with.
    gold : (n,) classes that stay, -1 where the votes are to tell.
    """
    classes = start.shape[1]
    known = gold >= 0
    fixed = np.eye(classes)[gold[known]]
    said = np.where(votes < 0, classes, votes)
    p = start.copy()
    p[known] = fixed
    for _ in range(ROUNDS):
        learned = _maximize(said, p, smoothing)
        new = _expect(said, learned)
        new[known] = fixed
        moved, p = np.abs(new - p).max(initial=0.0), new
        if moved < _TOLERANCE:
            break
    return Labeled(p, {"class_shares": learned.prior.tolist(), "tables": learned.tables.tolist()})


def _maximize(said: IntArray, p: Floats, smoothing: float) -> Confusions:
    classes = p.shape[1]
    prior = p.sum(axis=0) + smoothing
    tables = np.stack(
        [
            np.stack([p[column == c].sum(axis=0) for c in range(classes + 1)], axis=1) + smoothing
            for column in said.T
        ]
    )
    return Confusions(prior / prior.sum(), tables / tables.sum(axis=2, keepdims=True))


def _expect(said: IntArray, learned: Confusions) -> Floats:
    told = np.tile(np.log(learned.prior), (len(said), 1))
    for column, table in zip(said.T, np.log(learned.tables), strict=True):
        told += table.T[column]
    return softmax(told)
