"""Clusters of rows by their features alone, and how many of them there are.

Features are scaled to unit length and reduced to their first principal components. That costs nothing in
what is found, and k-means is 2.6 times as fast (recipes/benchmarks/results/domain_clusters.json).
Whitening, unit length once more, spectral clustering, Ward's method and a mixture of Gaussians were tried,
too, and gained nothing on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.trust.scope import normalized
from textlabel.types import FloatArray

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: principal components that rows are reduced to
DIMENSIONS = 32
#: starts of k-means, of which the best counts: for the clusters, and for each of many that are compared
STARTS, QUICK_STARTS = 10, 1
#: times that rows are halved to see whether both halves make the same clusters
SPLITS = 20
#: random rows that this is seen on at most
STABLE_ROWS = 2000
#: rows that it is seen on at least, and rows for each cluster
LEAST_ROWS, ROWS_A_CLUSTER = 20, 4
#: rows that are equal to so many digits after the point are one
_SAME = 6
#: rows that are made wide at a time
_PART = 1 << 16
#: what a gain in agreement up to each of these says; seven public sets had 0.24 to 0.52
VERDICTS = (
    (
        0.1,
        "none found: the rows agree on clusters no more than rows without any would; these only cut them up",
    ),
    (
        0.35,
        "blurred: halves of the rows agree more than on a cloud without clusters, but many rows lie between",
    ),
    (1.0, "clear: halves of the rows make much the same clusters"),
)


@dataclass(frozen=True)
class Space:
    """Where rows are compared: the first principal components of features of unit length.

    Parameters
    ----------
    mean : (d,) of the features.
    axes : (r, d) the components, each of unit length.
    """

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, features: FloatArray, dimensions: int = DIMENSIONS) -> Space:
        """Return the space of features (n, d)."""
        rows = normalized(features).astype(np.float64)
        mean = rows.mean(axis=0)
        _, axes = np.linalg.eigh((rows - mean).T @ (rows - mean))
        return cls(mean, axes[:, ::-1][:, :dimensions].T)

    def rows(self, features: FloatArray) -> Floats:
        """Return rows (n, r) of features (n, d)."""
        found = np.empty((len(features), len(self.axes)))
        for start in range(0, len(features), _PART):
            part = slice(start, start + _PART)
            found[part] = (normalized(features[part]) - self.mean) @ self.axes.T
        return found


@dataclass(frozen=True)
class Stability:
    """How far random halves of the rows agree on a number of clusters.

    Parameters
    ----------
    clusters : how many.
    agreement : mean adjusted Rand index of what two halves make of all rows; 1: the same, 0: as by chance.
    without : the same of Gaussian rows of the same covariance, which have no clusters.
    standard_error : of ``gain``, over the splits.
    """

    clusters: int
    agreement: float
    without: float
    standard_error: float

    @property
    def gain(self) -> float:
        """How much better halves agree than they would without clusters."""
        return self.agreement - self.without

    @property
    def verdict(self) -> str:
        """What it means, in words."""
        return next((words for limit, words in VERDICTS if self.gain <= limit), VERDICTS[-1][1])


def k_means(rows: Floats, clusters: int, seed: int, starts: int = STARTS) -> Floats:
    """Return centers (k, r) of rows (n, r), of the largest cluster first.

    Lloyd's iterations from k-means++ (Arthur and Vassilvitskii 2007), by scikit-learn; of several starts the
    one of the least distances counts.

    Raises
    ------
    CorpusError : fewer than two clusters, or fewer different rows than clusters.

    Examples
    --------
    >>> k_means(np.array([[0.0], [0.1], [0.2], [9.0], [9.1]]), 2, seed=0).round(2).tolist()
    [[0.1], [9.05]]
    """
    from threadpoolctl import threadpool_limits

    known = len(different(rows))
    if not 2 <= clusters <= known:
        raise CorpusError(f"{clusters} clusters of {known} different rows; expected 2 to {known} of them")
    with threadpool_limits(limits=1):  # several threads add in another order each time
        return _centers(rows, clusters, seed, starts)


def nearest_center(rows: Floats, centers: Floats) -> tuple[Ints, Floats]:
    """Return the nearest center of each row, and the distance to it, (n,) both.

    Examples
    --------
    >>> number, distance = nearest_center(np.array([[0.0], [4.0]]), np.array([[1.0], [4.0]]))
    >>> number.tolist(), distance.tolist()
    ([0, 1], [1.0, 0.0])
    """
    squares = (centers**2).sum(axis=1) - 2 * rows @ centers.T
    number = squares.argmin(axis=1)
    # the difference of squares rounds: a row at its center would be a little off it
    return number, np.linalg.norm(rows - centers[number], axis=1)


def different(rows: Floats) -> Ints:
    """Return the row numbers, ascending, of the first of each set of equal rows.

    Examples
    --------
    >>> different(np.array([[2.0], [1.0], [2.0]])).tolist()
    [0, 1]
    """
    return np.sort(np.unique(rows.round(_SAME), axis=0, return_index=True)[1])


def central(number: Ints, distance: Floats) -> npt.NDArray[np.bool_]:
    """Return (n,) whether a row is in the half of its cluster that is nearest to the center.

    Examples
    --------
    >>> central(np.array([0, 0, 0, 1]), np.array([0.3, 0.1, 0.2, 5.0])).tolist()
    [False, True, True, True]
    """
    found = np.zeros(len(number), dtype=bool)
    for cluster in np.unique(number):
        rows = np.flatnonzero(number == cluster)
        found[rows[np.argsort(distance[rows], kind="stable")][: (len(rows) + 1) // 2]] = True
    return found


def numbers_to_try(most: int) -> list[int]:
    """Return numbers of clusters from 2 to ``most``, in steps that grow with them.

    Examples
    --------
    >>> numbers_to_try(20)
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 19, 20]
    """
    found = [2]
    while found[-1] < most:
        found.append(min(found[-1] + max(1, found[-1] // 5), most))
    return found


def stability(
    rows: Floats,
    numbers: Sequence[int],
    seed: int,
    splits: int = SPLITS,
    progress: Callable[[int, int], None] | None = None,
) -> list[Stability]:
    """Return how stable each number of clusters is (Ben-Hur et al. 2002; von Luxburg 2010, arXiv 1007.1075).

    Rows are halved at random, each half makes clusters, and the adjusted Rand index tells how far the two
    label all rows alike by their nearest centers. Few clusters agree well on any rows, and a cloud that is
    longer than it is wide is cut in two most reliably of all. So what counts is how much better halves agree
    than those of Gaussian rows of the same covariance do.

    What that can tell: whether another sample of the corpus would make these clusters. What it cannot:
    whether they are the classes that somebody has in mind. Texts of one class may fall into two clusters,
    two classes into one, and a corpus may cluster most clearly by length or by source.

    Parameters
    ----------
    rows : (n, r) uncorrelated columns, as `Space.rows` gives them; of many, `STABLE_ROWS` random ones count.
    numbers : numbers of clusters.
    progress : called with (splits done, splits) after each.

    Raises
    ------
    CorpusError : fewer than 20 different rows, or fewer than 4 for each cluster.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    known = rows[different(rows)]
    needed = max(LEAST_ROWS, ROWS_A_CLUSTER * max(numbers))
    if len(known) < needed:
        raise CorpusError(
            f"{len(known)} different rows; expected {needed} or more to see whether up to {max(numbers)} "
            "clusters are stable"
        )
    kept = known[np.sort(rng.permutation(len(known))[:STABLE_ROWS])]
    agreement = np.empty((2, splits, len(numbers)))
    for split in range(splits):
        shapeless = rng.normal(size=kept.shape) * kept.std(axis=0)
        order = rng.permutation(len(kept))
        with threadpool_limits(limits=1):
            for i, cloud in enumerate((kept, shapeless)):
                agreement[i, split] = [_agreement(cloud, order, k, split) for k in numbers]
        if progress:
            progress(split + 1, splits)
    mean = agreement.mean(axis=1)
    error = np.sqrt(agreement.var(axis=1, ddof=1).sum(axis=0) / splits)
    found = zip(numbers, mean[0].tolist(), mean[1].tolist(), error.tolist(), strict=True)
    return [Stability(*one) for one in found]


def most_stable(tried: Sequence[Stability]) -> Stability:
    """Return the largest number of clusters whose gain is within one standard error of the best.

    Where many numbers gain much the same, as on blurred clusters, another seed may well choose another. On
    seven public sets, clusters and classes share .494 of their information (normalized) at the number chosen,
    .533 at the number of classes and .453 at ten (recipes/benchmarks/results/domain_clusters.json).

    Examples
    --------
    >>> tried = [Stability(2, 0.9, 0.8, 0.05), Stability(3, 0.8, 0.3, 0.05), Stability(4, 0.6, 0.2, 0.05)]
    >>> most_stable(tried).clusters
    3
    """
    best = max(tried, key=lambda one: one.gain)
    near = [one for one in tried if one.gain >= best.gain - best.standard_error]
    return max(near, key=lambda one: one.clusters)


def _agreement(rows: Floats, order: Ints, clusters: int, seed: int) -> float:
    from sklearn.metrics import adjusted_rand_score

    half = len(rows) // 2
    parts = (rows[order[:half]], rows[order[half:]])
    one, other = (nearest_center(rows, _centers(part, clusters, seed, QUICK_STARTS))[0] for part in parts)
    return float(adjusted_rand_score(one, other))


def _centers(rows: Floats, clusters: int, seed: int, starts: int) -> Floats:
    from sklearn.cluster import KMeans

    found = KMeans(clusters, n_init=starts, random_state=seed).fit(rows)
    sizes = np.bincount(found.labels_, minlength=clusters)
    return np.asarray(found.cluster_centers_[np.argsort(-sizes, kind="stable")], np.float64)
