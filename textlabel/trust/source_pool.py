"""Factors of several classifiers, learned on a few labeled rows of the target. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.trust.calibration import softmax

Floats = npt.NDArray[np.float64]

#: factors of a smaller share are rounding of the solver
_NEGLIGIBLE = 1e-4


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
