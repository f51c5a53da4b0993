"""Strategy ``entropy``: rows of which the model knows least, over all classes (Shannon entropy)."""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, lowest

NAME = "entropy"
NEEDS = ("probabilities",)


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return the rows with the largest entropy."""
    rows = pool.open()
    p = pool.said()[rows]
    return lowest((p * np.log(np.maximum(p, 1e-12))).sum(axis=1), rows, count, rng)
