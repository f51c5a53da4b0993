"""Class moments of features, and the distances of a text from them.

Only moments are kept: no text and no row of features. The mean of a class with very few rows is still
close to the features of those rows, which matters where the texts are secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError, CorpusError

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

#: rows read at once
_CHUNK = 4096

#: least weight of the sphere in a covariance: keeps constant features from making it singular
_LEAST_SHRINKAGE = 1e-6

#: scatter below this share of its reference is rounding, not variation
_NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Moments:
    """Class means and two covariances, as factors: ``inverse covariance = factor @ factor.T``.

    They may be of the first d features only: of rows that have more, the others are not looked at.

    Parameters
    ----------
    means : (k, d) float32, class means; a class without rows is NaN and is never the nearest.
    factor : (d, d) float32, of the covariance within classes.
    mean0 : (d,) float32, mean of all rows.
    factor0 : (d, d) float32, of the covariance of all rows.
    """

    means: Float32
    factor: Float32
    mean0: Float32
    factor0: Float32

    def mahalanobis(self, features: npt.NDArray[np.floating]) -> Float32:
        """Return the squared distance (n,) of features (n, d) to the nearest class mean.

        Distances are measured in the covariance within classes (Lee et al. 2018, arXiv 1807.03888).
        """
        return self._by_chunks(features, self._nearest())

    def relative_mahalanobis(self, features: npt.NDArray[np.floating]) -> Float32:
        """Return the squared distance (n,) to the nearest class minus that to the bulk of all rows.

        Each is measured in its own covariance; the subtraction removes what is unusual about every row,
        such as its length (Ren et al. 2021, arXiv 2106.09022). With a single class the two would cancel,
        so that the plain distance is returned.
        """
        nearest = self._nearest()
        if self._known.sum() == 1:
            return self._by_chunks(features, nearest)
        return self._by_chunks(features, lambda z: nearest(z) - _squares(z @ self.factor0))

    def bulk(self, features: npt.NDArray[np.floating]) -> Float32:
        """Return the squared distance (n,) to the mean of all rows, in their covariance."""
        return self._by_chunks(features, lambda z: _squares(z @ self.factor0))

    @property
    def _known(self) -> npt.NDArray[np.bool_]:
        """Which classes have rows."""
        return np.asarray(~np.isnan(self.means).any(axis=1))

    def _nearest(self) -> Callable[[Float32], Float32]:
        """Return what gives rows centered at ``mean0`` their squared distance to the nearest class."""
        offset = self.means[self._known].astype(np.float64) - self.mean0
        centers = (offset @ self.factor.astype(np.float64)).astype(np.float32)
        squares = _squares(centers)

        def nearest(rows: Float32) -> Float32:
            white = rows @ self.factor
            closest: Float32 = (squares - 2 * (white @ centers.T)).min(axis=1)
            return np.asarray(np.maximum(_squares(white) + closest, np.float32(0)))

        return nearest

    def _by_chunks(
        self, features: npt.NDArray[np.floating], distance: Callable[[Float32], Float32]
    ) -> Float32:
        # Single precision is safe because rows are centered first and the least shrinkage bounds how
        # much a factor can enlarge their rounding; the factors are single precision anyway.
        found = np.empty(len(features), dtype=np.float32)
        for start in range(0, len(features), _CHUNK):
            centered = features[start : start + _CHUNK, : len(self.mean0)] - self.mean0
            found[start : start + _CHUNK] = distance(centered.astype(np.float32, copy=False))
        return found

    def arrays(self) -> dict[str, Float32]:
        """Return the arrays by name, as safetensors wants them."""
        return {"means": self.means, "factor": self.factor, "mean0": self.mean0, "factor0": self.factor0}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Float32]) -> Moments:
        """Return the moments that `arrays` gave; a `BundleError` if one is missing or misshapen."""
        names = ("means", "factor", "mean0", "factor0")
        if missing := [name for name in names if name not in arrays]:
            raise BundleError(
                f"expected class moments {list(names)}; missing {missing}: save the model again"
            )
        means, factor, mean0, factor0 = (np.asarray(arrays[name], dtype=np.float32) for name in names)
        d = mean0.shape[0]
        if means.shape[1:] != (d,) or factor.shape != (d, d) or factor0.shape != (d, d):
            shapes = [means.shape, factor.shape, mean0.shape, factor0.shape]
            raise BundleError(f"class moments do not fit together: {shapes}; save the model again")
        return cls(means, factor, mean0, factor0)


def fit_moments(features: npt.NDArray[np.floating], labels: npt.ArrayLike, k: int) -> Moments:
    """Return the moments of features (n, d) with class numbers ``labels`` (n,) in [0, k).

    Covariances are shrunk towards a sphere by the Ledoit-Wolf rule, so n < d is fine. Without any
    scatter within classes (one row each) that of all rows stands in; if all rows are alike, the identity.
    Features may be memory-mapped: they are read in chunks, and sums are float64.

    Raises
    ------
    CorpusError : no rows, or not one label in [0, k) for each.
    """
    y = np.asarray(labels, dtype=np.int64)
    if features.ndim != 2 or not len(y) or y.shape != features.shape[:1] or y.min() < 0 or y.max() >= k:
        raise CorpusError(
            f"expected features (n, d) and labels (n,) in [0, {k}), n >= 1; got {features.shape}, {y.shape}"
        )
    sums, counts = np.zeros((k, features.shape[1])), np.bincount(y, minlength=k)
    for rows, at in zip(_chunks(features), _chunks(y), strict=True):
        np.add.at(sums, at.astype(np.int64), rows)
    mean0 = sums.sum(axis=0) / len(y)
    means = np.divide(sums, counts[:, None], out=np.full_like(sums, np.nan), where=counts[:, None] > 0)

    total = _covariance(rows - mean0 for rows in _chunks(features))
    if np.trace(total) <= _NEGLIGIBLE * (mean0 @ mean0):
        total = np.eye(len(mean0))
    pairs = zip(_chunks(features), _chunks(y), strict=True)
    within = _covariance(rows - means[at.astype(np.int64)] for rows, at in pairs)
    if np.trace(within) <= _NEGLIGIBLE * np.trace(total):
        within = total
    single = [a.astype(np.float32) for a in (means, _factor(within), mean0, _factor(total))]
    return Moments(*single)


def _chunks(rows: npt.NDArray[np.generic]) -> Iterator[Floats]:
    for start in range(0, len(rows), _CHUNK):
        yield np.asarray(rows[start : start + _CHUNK], dtype=np.float64)


def _squares(rows: Float32) -> Float32:
    """Return the squared length (n,) of each row."""
    squares: Float32 = np.einsum("ij,ij->i", rows, rows)
    return squares


def _covariance(chunks: Iterator[Floats]) -> Floats:
    """Return the Ledoit-Wolf covariance (d, d) of centered rows that come in chunks.

    ``(1 - s) S + s m I`` with ``m = tr(S) / d`` and the ``s`` that minimizes the expected squared error
    (Ledoit and Wolf 2004, doi 10.1016/S0047-259X(03)00096-4).
    """
    n, outer, fourth = 0, np.zeros((0, 0)), 0.0
    for rows in chunks:
        outer = rows.T @ rows + (outer if n else 0.0)
        fourth += float(np.sum(np.sum(rows**2, axis=1) ** 2))
        n += len(rows)
    sample = outer / n
    d = len(sample)
    sphere = float(np.trace(sample)) / d
    squared = float(np.sum(sample**2))
    spread = squared - d * sphere**2  # distance of the sample covariance from the sphere
    noise = min((fourth / n - squared) / n, spread)  # how much of it is sampling noise
    shrinkage = max(noise / spread if spread > 0 else 1.0, _LEAST_SHRINKAGE)
    return (1 - shrinkage) * sample + shrinkage * sphere * np.eye(d)


def _factor(covariance: Floats) -> Floats:
    """Return ``F`` with ``F @ F.T`` the inverse of a positive definite matrix."""
    return np.linalg.inv(np.linalg.cholesky(covariance)).T
