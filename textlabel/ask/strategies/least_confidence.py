"""Strategy ``least_confidence``: rows whose likeliest class is least likely.

Lewis and Gale 1994, cmp-lg/9407020."""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, lowest

NAME = "least_confidence"
NEEDS = ("probabilities",)


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return the rows with the lowest largest probability."""
    rows = pool.open()
    return lowest(pool.said()[rows].max(axis=1), rows, count, rng)
