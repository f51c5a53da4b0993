"""Stopping rule ``kappa``: what the model says of the rows has stopped changing.

Bloodgood and Vijay-Shanker 2009 (CoNLL): Cohen's kappa of the labels of two rounds is above `ENOUGH`, `TIMES`
times in a row. It tells that more labels change
little, not that they are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from textlabel.ask import Ints
from textlabel.ask.stopping import LAST, Round

NAME = "kappa"
ENOUGH, TIMES = 0.99, LAST - 1


def stop(rounds: Sequence[Round]) -> str:
    """Return why to stop, or an empty text."""
    if len(rounds) <= TIMES:
        return ""
    said = [one.probabilities.argmax(axis=1) for one in rounds[-TIMES - 1 :]]
    found = [kappa(a, b) for a, b in pairwise(said)]
    if min(found) < ENOUGH:
        return ""
    return f"labels have hardly changed in {TIMES} rounds (kappa {min(found):.3f} or more)"


def kappa(first: Ints, second: Ints) -> float:
    """Return Cohen's kappa of two labelings (n,): 1 where they agree everywhere.

    Examples
    --------
    >>> kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
    0.5
    """
    classes = np.unique(np.concatenate([first, second]))
    same = float(np.mean(first == second))
    chance = sum(float(np.mean(first == c) * np.mean(second == c)) for c in classes)
    return 1.0 if chance >= 1 else (same - chance) / (1 - chance)
