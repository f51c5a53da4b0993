"""Strategy ``cal``: rows of which the model says other things than of labeled rows nearby.

Margatina et al. 2021, arXiv 2109.03764."""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, lowest, some_of, unit

NAME = "cal"
NEEDS = ("probabilities",)
#: labeled neighbors that a row is compared with, and random open rows that are looked at
NEIGHBORS, MOST_ROWS = 10, 20_000


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return the rows with the largest mean divergence KL(p of a labeled neighbor || p of the row)."""
    rows, known = some_of(pool.open(), max(MOST_ROWS, count), rng), pool.labeled
    if not len(known):
        return rng.permutation(rows)[:count]
    p = np.maximum(pool.said(), 1e-12)
    k = min(NEIGHBORS, len(known))
    near = np.argpartition(-unit(pool.features[rows]) @ unit(pool.features[known]).T, k - 1, axis=1)[:, :k]
    theirs, mine = p[known][near], p[rows][:, None]
    divergence = (theirs * (np.log(theirs) - np.log(mine))).sum(axis=2).mean(axis=1)
    return lowest(-divergence, rows, count, rng)
