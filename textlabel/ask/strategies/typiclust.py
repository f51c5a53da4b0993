"""Strategy ``typiclust``: the most typical row of each large cluster without labels.

Hacohen et al. 2022, arXiv 2202.02794. Clusters are as many as rows will be labeled then, at most
`MOST_CLUSTERS`; those with the fewest labels come first, of these the largest. Typical is what is near its
nearest neighbors within the cluster.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Floats, Ints, Pool, some_of, unit

NAME = "typiclust"
NEEDS: tuple[str, ...] = ()
MOST_CLUSTERS = 500
#: clusters up to which their centers are sought with care, which takes longest of all
FEW_CLUSTERS = 100
#: neighbors that tell how typical a row is, at most half of its cluster, and rows that a cluster must have to
#: be asked first
NEIGHBORS, LEAST_ROWS = 20, 5
#: rows whose distances to all others of their cluster are held at a time
_AT_ONCE = 1024
#: random open rows that are clustered: more take longer and change little
MOST_ROWS = 10_000


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return typical rows, each of another cluster as far as there are some."""
    from sklearn.cluster import MiniBatchKMeans

    rows = np.concatenate([some_of(pool.open(), max(MOST_ROWS, count), rng), pool.labeled])
    x, is_open = unit(pool.features[rows]), pool.labels[rows] < 0
    wanted = min(len(pool.labeled) + count, MOST_CLUSTERS, len(rows))
    seed, init = int(rng.integers(2**31)), "k-means++" if wanted <= FEW_CLUSTERS else "random"
    made = MiniBatchKMeans(wanted, init=init, n_init=1, batch_size=4096, max_iter=10, random_state=seed)
    cluster = made.fit_predict(x)
    labels_in = np.bincount(cluster[~is_open], minlength=wanted)
    size = np.bincount(cluster, minlength=wanted)
    ranked: dict[int, list[int]] = {}
    found: list[int] = []
    while len(found) < count:
        for c in np.lexsort((-size, labels_in, size <= LEAST_ROWS)).tolist():
            if c not in ranked:  # a cluster whose turn does not come is not looked into
                ranked[c] = _typical(x, rows, (cluster == c) & is_open)
            if not ranked[c]:
                continue
            found.append(ranked[c].pop(0))
            labels_in[c] += 1
            if len(found) == count:
                break
    return np.array(found, np.int64)


def _typical(x: Floats, rows: Ints, inside: np.ndarray) -> list[int]:
    """Return the open rows of a cluster, the most typical first."""
    part = x[inside]
    if not len(part):
        return []
    k = min(NEIGHBORS, len(part) // 2)
    distance = np.zeros(len(part))
    for start in range(0, len(part) if k else 0, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        # the row itself is among them, at no distance
        near = np.partition(2 - 2 * part[some] @ part.T, k, axis=1)[:, : k + 1]
        distance[some] = np.sqrt(np.maximum(near, 0)).sum(axis=1) / k
    return [int(row) for row in rows[inside][np.argsort(distance, kind="stable")]]
