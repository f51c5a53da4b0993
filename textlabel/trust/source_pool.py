"""Several sources, one target: factors of their classifiers, and their rows nearest to it. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.trust.calibration import softmax

Floats = npt.NDArray[np.float64]

#: factors of a smaller share are rounding of the solver
_NEGLIGIBLE = 1e-4
#: target rows that a source row is compared with, the nearest ones
NEIGHBORS = 5


def nearest_rows(
    source: npt.NDArray[np.floating[Any]], target: npt.NDArray[np.floating[Any]], share: float
) -> npt.NDArray[np.bool_]:
    """Return which source rows (n,) are the ``share`` of them that is nearest to the target, at least one.

    A row is as near as its mean cosine with its `NEIGHBORS` nearest target rows is high, all centered on the
    mean of the target; of rows alike near the first are taken.

    Parameters
    ----------
    source, target : features (n, d) and (m, d).
    share : in (0, 1].

    Raises
    ------
    CorpusError : no rows, or another share.

    Examples
    --------
    >>> nearest_rows(np.array([[1.0, 0], [0, 1.0]]), np.array([[1.0, 0.1], [-1.0, -0.2]]), 0.5).tolist()
    [True, False]
    """
    if not 0 < share <= 1 or not len(source) or not len(target):
        raise CorpusError(
            f"nearest = {share:g} of {len(source)} rows, for {len(target)} of the target: expected a share "
            "above 0 and up to 1, and rows of both"
        )
    x, t = (_directions(rows - target.mean(axis=0)) for rows in (source, target))
    cosines = x @ t.T
    k = min(NEIGHBORS, len(target))
    near = np.partition(cosines, len(target) - k, axis=1)[:, -k:].mean(axis=1)
    kept = np.zeros(len(source), np.bool_)
    kept[np.argsort(-near, kind="stable")[: max(1, round(share * len(source)))]] = True
    return kept


def _directions(rows: npt.NDArray[np.floating[Any]]) -> Floats:
    found: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def pool_factors(logits: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike) -> Floats:
    """Return factors (s,), none negative, of the best log-linear pool of classifiers.

    The pool is ``softmax(sum_s v_s logits_s)`` (Genest and Zidek 1986), whose likelihood is concave in v. The
    factors over their sum are the weights; their sum is how sure the pool is. Without it, with weights that
    must sum to 1, a poisoned source would get weight for making a classifier that is too sure less so. An
    exponential prior worth one row keeps the sum finite where all rows are right, and two that cancel at 0.
    All factors are 0 where no classifier tells anything.

    Parameters
    ----------
    logits : (s, n, k) of each classifier on rows that it did not train on.
    labels : (n,) class numbers in [0, k).

    Raises
    ------
    CorpusError : shapes that do not agree, no row, or no classifier.

    Examples
    --------
    >>> right = 3 * np.eye(2)[[0, 1, 0, 1]]
    >>> (pool_factors(np.stack([right, -right]), [0, 1, 0, 1]) > 0).tolist()
    [True, False]
    """
    from scipy.optimize import minimize

    z, y = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if z.ndim != 3 or not len(z) or y.shape != z.shape[1:2] or not len(y):
        raise CorpusError(
            f"expected logits (s, n, k) and labels (n,), s, n >= 1; got {z.shape} and {y.shape}"
        )
    right = z[:, np.arange(len(y)), y]

    def loss(v: Floats) -> tuple[float, Floats]:
        pooled = np.tensordot(v, z, axes=1)
        p = softmax(pooled)
        top = pooled.max(axis=1)
        norm = top + np.log(np.exp(pooled - top[:, None]).sum(axis=1))
        slope = (np.einsum("nk,snk->sn", p, z) - right).mean(axis=1)
        return float((norm - v @ right).mean()), slope

    def penalized(v: Floats) -> tuple[float, Floats]:
        value, slope = loss(v)
        return value + float(v.sum()) / len(y), slope + 1 / len(y)

    start = np.full(len(z), 1 / len(z))
    found = minimize(
        penalized, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(z), options={"ftol": 1e-13}
    )
    factors: Floats = np.where(found.x < _NEGLIGIBLE * found.x.sum(), 0.0, found.x)
    return factors
