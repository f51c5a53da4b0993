"""Strategy ``class_balanced_margin``: small margins, in turn of the classes with the fewest labels.

Margins alone may spend a round on one pair of classes; a class that is rare so far comes first.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, lowest, margins

NAME = "class_balanced_margin"
NEEDS = ("probabilities",)


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return rows of each class that the model names, those of the smallest margin first."""
    rows, said = pool.open(), pool.said()
    named = said[rows].argmax(axis=1)
    score = margins(said[rows])
    waiting = [
        lowest(score[named == c], rows[named == c], count, rng).tolist()[::-1] for c in range(pool.classes)
    ]
    have = np.bincount(pool.labels[pool.labeled], minlength=pool.classes).astype(float)
    found: list[int] = []
    while len(found) < count:
        left = np.array([have[c] if waiting[c] else np.inf for c in range(pool.classes)])
        c = int(left.argmin())
        found.append(waiting[c].pop())
        have[c] += 1
    return np.array(found, np.int64)
