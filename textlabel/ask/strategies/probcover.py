"""Strategy ``probcover``: rows whose neighborhoods hold the most rows that none covers yet.

Yehuda et al. 2022, arXiv 2205.11514. A row covers what is nearer than a radius: the largest at which rows
of one cluster out of as many as there are classes have nearly only neighbors of that cluster.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Floats, Ints, Pool, some_of, unit

NAME = "probcover"
NEEDS: tuple[str, ...] = ()
#: random open rows that are looked at, in pairs, and the share of neighbors that must be of the same cluster
MOST_ROWS, PURITY = 4000, 0.95


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return rows greedily, each with the most rows that are not covered; then random ones."""
    rows = np.concatenate([pool.labeled, some_of(pool.open(), MOST_ROWS, rng)])
    x = unit(pool.features[rows])
    distance = 2 - 2 * x @ x.T
    near = distance < _radius(distance, x, pool.classes, rng)
    known = len(pool.labeled)
    free = ~near[:known].any(axis=0)
    found: list[int] = []
    taken = np.zeros(len(rows), bool)
    taken[:known] = True
    while len(found) < count and not taken.all():
        gain = np.where(taken, -1, near[:, free].sum(axis=1))
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        taken[best] = True
        found.append(int(rows[best]))
        free &= ~near[best]
    rest = rng.permutation(np.setdiff1d(pool.open(), found))[: count - len(found)]
    return np.concatenate([np.array(found, np.int64), rest])


def _radius(distance: Floats, x: Floats, classes: int, rng: np.random.Generator) -> float:
    """Return the largest squared distance within which neighbors are of one cluster."""
    from sklearn.cluster import MiniBatchKMeans

    made = MiniBatchKMeans(max(classes, 2), n_init=1, random_state=int(rng.integers(2**31)))
    cluster = made.fit_predict(x) if len(x) > classes else np.arange(len(x))
    some = some_of(np.arange(len(x)), 500, rng)
    near = distance[some]
    same = cluster[some][:, None] == cluster[None]
    best = 0.0
    for radius in np.quantile(near, np.linspace(0.001, 0.2, 20)):
        inside = near <= radius
        if (inside & same).sum() < PURITY * inside.sum():
            break
        best = float(radius)
    return max(best, float(np.quantile(near, 0.001)))
