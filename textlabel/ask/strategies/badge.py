"""Strategy ``badge``: rows whose gradients would be large and different (Ash et al. 2020, arXiv 1906.03671).

The gradient of a row's loss at its likeliest class, in the head's weights, is (p - one of k) times its
features; k-means++ draws rows by their distance from those drawn. The products are never written out.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, some_of

NAME = "badge"
NEEDS = ("probabilities",)
#: random open rows that are looked at
MOST_ROWS = 10_000


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return rows by k-means++ over their gradients."""
    rows = some_of(pool.open(), max(MOST_ROWS, count), rng)
    h = np.asarray(pool.features[rows], np.float32)
    a = np.asarray(pool.said()[rows], np.float32).copy()
    a[np.arange(len(rows)), a.argmax(axis=1)] -= 1
    length = (a**2).sum(axis=1) * (h**2).sum(axis=1)
    found = [int(length.argmax())]
    nearest = np.full(len(rows), np.inf, np.float64)
    while len(found) < count:
        i = found[-1]
        distance = length + length[i] - 2 * (a @ a[i]) * (h @ h[i])
        nearest = np.minimum(nearest, np.maximum(distance, 0))
        nearest[found] = 0
        total = nearest.sum()
        if total <= 0:
            left = np.setdiff1d(np.arange(len(rows)), found)
            found += rng.permutation(left)[: count - len(found)].tolist()
            break
        found.append(int(rng.choice(len(rows), p=nearest / total)))
    return rows[found]
