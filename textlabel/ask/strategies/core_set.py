"""Strategy ``core_set``: each time the row that is farthest from all labeled ones.

Sener and Savarese 2018, arXiv 1708.00489."""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, some_of, unit

NAME = "core_set"
NEEDS: tuple[str, ...] = ()
#: random open rows that are looked at
MOST_ROWS = 20_000


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return rows by greedy k-center; the first is random where none is labeled."""
    rows = some_of(pool.open(), max(MOST_ROWS, count), rng)
    x = unit(pool.features[rows])
    nearest = np.full(len(rows), -np.inf, np.float32)  # cosine with the nearest chosen row
    for start in range(0, len(pool.labeled), 1000):
        known = unit(pool.features[pool.labeled[start : start + 1000]])
        nearest = np.maximum(nearest, (x @ known.T).max(axis=1))
    found: list[int] = []
    for _ in range(count):
        i = int(nearest.argmin()) if np.isfinite(nearest).any() else int(rng.integers(len(rows)))
        found.append(i)
        nearest = np.maximum(nearest, x @ x[i])
        nearest[found] = np.inf
    return rows[found]
