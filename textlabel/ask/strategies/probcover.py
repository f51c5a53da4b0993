"""Strategy ``probcover``: rows whose neighborhoods hold the most rows that none covers yet.

Yehuda et al. 2022, arXiv 2205.11320. A row covers the ball of what is nearer than a radius: the largest at
which nearly all balls are pure, holding rows of one cluster alone, out of as many clusters as there are
classes; or, where these touch, that which covers a thousandth of the pairs of rows. At most `MOST_ROWS` rows
are looked at: of more, those that nothing covers are random ones.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Floats, Ints, Pool, some_of, unit

NAME = "probcover"
NEEDS: tuple[str, ...] = ()
#: random open rows that are looked at, in pairs, and the share of balls that must be pure
MOST_ROWS, PURE = 4000, 0.95
#: share of the pairs of rows that are nearer than the radius, at least: a smaller one covers nothing
_LEAST = 0.001


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return rows greedily, each with the most rows that are not covered; then random ones."""
    rows = np.concatenate([pool.labeled, some_of(pool.open(), MOST_ROWS, rng)])
    x = unit(pool.features[rows])
    distance = 2 - 2 * x @ x.T
    near = distance < _radius(distance, x, pool.classes, rng)
    known = len(pool.labeled)
    free = ~near[:known].any(axis=0)
    found: list[int] = []
    gain = near[:, free].sum(axis=1)
    while len(found) < count:
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        found.append(int(rows[best]))
        covers = free & near[best]
        gain -= near[:, covers].sum(axis=1)  # each row is taken off once, when it is covered
        free &= ~covers
    rest = rng.permutation(np.setdiff1d(pool.open(), found))[: count - len(found)]
    return np.concatenate([np.array(found, np.int64), rest])


def _radius(distance: Floats, x: Floats, classes: int, rng: np.random.Generator) -> float:
    """Return the largest squared distance within which the share `PURE` of rows see their own cluster alone.

    A ball is pure up to the nearest row of another cluster, so that the radius is a quantile of these.
    """
    from sklearn.cluster import MiniBatchKMeans

    made = MiniBatchKMeans(max(classes, 2), n_init=1, random_state=int(rng.integers(2**31)))
    cluster = made.fit_predict(x) if len(x) > classes else np.arange(len(x))
    some = some_of(np.arange(len(x)), 500, rng)
    other = cluster[some][:, None] != cluster[None]
    pure_to = np.where(other, distance[some], np.inf).min(axis=1)
    pairs = np.sort(distance[some], axis=1)[:, 1:]  # without the row itself
    floor = float(np.quantile(pairs, _LEAST)) if pairs.size else 0.0
    # the least radius at which more balls than 1 - PURE would hold another cluster
    radius = float(np.sort(pure_to)[int((1 - PURE) * len(pure_to))])
    return max(radius, floor)
