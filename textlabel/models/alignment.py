"""Features of one domain moved to where those of another lie, in closed form and without a label.

"coral" gives labeled rows mean and covariance of the target (CORAL, Sun, Feng and Saenko 2016, arXiv
1511.05547): they are whitened by their own covariance and colored by the target's, and a head is then fitted
in target space. "subspace" compares both in their leading principal directions (subspace alignment, Fernando
et al. 2013, doi 10.1109/ICCV.2013.368): a labeled row is read by the directions of its own domain, a row of
the target by its own, and the head of these coordinates is one of features again.

Both match what can be seen without labels, which may be the wrong thing: where domains differ in the shares
of classes, or a head works across domains as it is, they do harm.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from textlabel.models.heads import Linear, one_thread
from textlabel.types import FloatArray

#: what may be said of how rows are aligned; "none" leaves them as they are
ALIGNMENTS = ("none", "coral", "subspace")
#: cosine from which on a direction of one subspace meets one of the other
MEET = 0.5


class Alignment(NamedTuple):
    """Two maps into one space: of features of the source, and of those of the target.

    Parameters
    ----------
    source_mean, target_mean : (d,).
    source_map : (d, r).
    target_map : (d, r); None: the space is that of the target's features, which stay as they are.
    """

    source_mean: FloatArray
    source_map: FloatArray
    target_mean: FloatArray
    target_map: FloatArray | None = None

    def source(self, features: FloatArray) -> FloatArray:
        """Return where features (..., d) of the source lie, (..., r)."""
        found = (features - self.source_mean) @ self.source_map
        return np.asarray(found if self.target_map is not None else found + self.target_mean)

    def target(self, features: FloatArray) -> FloatArray:
        """Return where features (..., d) of the target lie, (..., r)."""
        return features if self.target_map is None else (features - self.target_mean) @ self.target_map

    def fold(self, head: Linear) -> Linear:
        """Return the head of untouched target features that says what ``head`` says of aligned ones."""
        if self.target_map is None:
            return head
        weight = head.weight @ self.target_map.T
        return Linear(weight, head.bias - weight @ self.target_mean)


@one_thread
def coral(source: FloatArray, target: FloatArray) -> Alignment:
    """Return what gives source features (n, d) the mean and covariance of target features (m, d).

    Covariances are shrunken as Ledoit and Wolf (2004) do, so that they have an inverse where there are fewer
    rows than features. The paper adds the identity instead, next to which features of unit length vanish.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> bool(np.allclose(coral(x, x).source(x), x))
    True
    """
    whiten, color = _root(source, -0.5), _root(target, 0.5)
    return Alignment(source.mean(axis=0), whiten @ color, target.mean(axis=0))


def _root(features: FloatArray, power: float) -> FloatArray:
    """Return the shrunken covariance (d, d) of features to this power."""
    from sklearn.covariance import ledoit_wolf

    values, vectors = np.linalg.eigh(ledoit_wolf(features)[0])
    # what never varies stays as it is: it has no variance to divide by
    values = np.maximum(values, 1e-10 * max(float(values.max()), 1e-30))
    return np.asarray(vectors * values**power @ vectors.T)


@one_thread
def subspace(source: FloatArray, target: FloatArray, dims: int) -> Alignment:
    """Return the alignment of the ``dims`` leading directions of source features (n, d) with the target's.

    In the paper a row of the source is ``x @ own @ own.T @ theirs`` and one of the target ``x @ theirs``.
    Here both are turned to principal vectors, the pairs of directions that meet at one angle each. That is
    the same up to a rotation, but lets pairs be left out that hardly meet: of the source next to nothing is
    left there, and what standardizes features before a head is fitted would blow it up. Few rows span fewer
    directions.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> found = subspace(x, x, 2)
    >>> bool(np.allclose(found.source(x), found.target(x)))
    True
    """
    dims = min(dims, len(source) - 1, len(target) - 1, source.shape[1])
    own, theirs = _leading(source, dims), _leading(target, dims)
    left, cosines, right = np.linalg.svd(own.T @ theirs)
    kept = np.maximum(cosines, 0.0) >= min(MEET, float(cosines[0]))
    source_map = own @ left[:, kept] * cosines[kept]
    return Alignment(source.mean(axis=0), source_map, target.mean(axis=0), theirs @ right[kept].T)


def _leading(features: FloatArray, dims: int) -> FloatArray:
    """Return the directions (d, dims) along which features vary most."""
    x = features - features.mean(axis=0)
    return np.asarray(np.linalg.svd(x, full_matrices=False)[2][:dims].T)


def aligned(name: str, source: FloatArray, target: FloatArray, dims: int) -> Alignment:
    """Return the alignment of this name, one of `ALIGNMENTS` but "none"."""
    return coral(source, target) if name == "coral" else subspace(source, target, dims)
