"""Dawid and Skene's tables, the labels of the few gold rows held fast: they say which class is which.

Gold begins the tables: the first guess of the other rows is the majority weighted by what gold says of each
rule, and each gold row counts as `WORTH` rows, for votes of many rows would drown the few.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textlabel.rules.confusions import em
from textlabel.rules.log_odds import weighted
from textlabel.rules.models import Labeled, checked

NAME = "anchored"

#: rows that a gold row counts as
WORTH = 5


def fit_predict(votes: npt.ArrayLike, classes: int, gold: npt.ArrayLike | None = None) -> Labeled:
    """Return probabilities (n, k); a gold row is of its class.

    Examples
    --------
    >>> wrong = [[1, 1, 0], [0, 0, 1]] * 10
    >>> gold = [0, 1] * 3 + [-1] * 14
    >>> fit_predict(wrong, 2, gold).probabilities.argmax(axis=1)[-2:].tolist()
    [0, 1]
    """
    v, g = checked(votes, classes, gold)
    again = np.repeat(np.flatnonzero(g >= 0), WORTH - 1)
    all_votes, all_gold = np.concatenate([v, v[again]]), np.concatenate([g, g[again]])
    found = em(all_votes, weighted(all_votes, classes, all_gold).probabilities, all_gold)
    return Labeled(found.probabilities[: len(v)], found.learned)
