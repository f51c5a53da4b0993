"""Which labels of rules agree with those of similar texts: the cut statistic.

Lang, Vijayaraghavan, Sontag 2022, arXiv 2206.02914, after Muhlenbach, Lallich, Zighed 2004.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.rules.models import Floats
from textlabel.types import IntArray

#: texts that a text is compared with
NEIGHBORS = 20
#: rows whose distances to all others are in memory at a time
_BLOCK = 1024


def cut_scores(
    features: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike, neighbors: int = NEIGHBORS
) -> Floats:
    """Return how much more neighbors disagree than if labels were dealt at random, (n,); low is good.

    The sum of the weights of edges to rows of another label, less its mean under random labels of the same
    shares, over its standard deviation. An edge weighs ``1 / (1 + distance)``.

    Parameters
    ----------
    features : (n, d).
    labels : (n,) class numbers.

    Raises
    ------
    CorpusError : not one label a row, or fewer than two rows.

    Examples
    --------
    >>> x = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> int(cut_scores(x, [0, 0, 1, 1, 1, 1], neighbors=2).argmax())
    2
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(y) < 2:
        raise CorpusError(f"expected features (n, d) and labels (n,), n >= 2; got {x.shape} and {y.shape}")
    share = np.bincount(y)[y] / len(y)
    near, weights = _nearest(x, min(neighbors, len(x) - 1))
    cut = (weights * (y[near] != y[:, None])).sum(axis=1)
    mean = (1 - share) * weights.sum(axis=1)
    deviation = np.sqrt(share * (1 - share) * (weights**2).sum(axis=1))
    scores: Floats = (cut - mean) / np.maximum(deviation, 1e-12)
    return scores


def kept_by_cut(
    features: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike, share: float
) -> npt.NDArray[np.bool_]:
    """Return which rows (n,) are kept: the ``share`` of each class that agrees best with its neighbors.

    Of each class the same share, so that a rare one is not dropped as a whole.

    Raises
    ------
    CorpusError : as `cut_scores`, or a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise CorpusError(f"share = {share:g}: expected a share above 0 and up to 1")
    scores, y = cut_scores(features, labels), np.asarray(labels, np.int64)
    kept = np.zeros(len(y), np.bool_)
    for c in np.unique(y):
        rows = np.flatnonzero(y == c)
        kept[rows[np.argsort(scores[rows], kind="stable")[: max(1, round(share * len(rows)))]]] = True
    return kept


def _nearest(x: Floats, neighbors: int) -> tuple[IntArray, Floats]:
    """Return the nearest other rows (n, q) and the weights of the edges to them."""
    squares = (x**2).sum(axis=1)
    near, weights = [], []
    for start in range(0, len(x), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(x)))
        apart = squares[rows, None] + squares - 2 * x[rows] @ x.T
        apart[np.arange(len(rows)), rows] = np.inf
        found = np.argpartition(apart, neighbors - 1, axis=1)[:, :neighbors]
        near.append(found)
        distance = np.sqrt(np.maximum(np.take_along_axis(apart, found, axis=1), 0))
        weights.append(1 / (1 + distance))
    return np.concatenate(near), np.concatenate(weights)
