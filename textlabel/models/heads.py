"""Linear heads on cached features: ridge in closed form, softmax regression by L-BFGS. numpy only.

Both standardize the features, penalize the standardized weights and fold the scaling back into the
returned weights, so that a head is nothing but one matrix and one bias and maps onto ``nn.Linear``
exactly. They work in the singular basis of the features, which is computed once for all strengths
of the penalty. Where there are fewer rows than dimensions this loses nothing: a ridge penalty keeps
the solution in the row space (the representer theorem).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from textlabel.types import FloatArray, IntArray

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Linear:
    """A linear map: ``features @ weight.T + bias``.

    Parameters
    ----------
    weight : (k, d) float64.
    bias : (k,) float64.
    """

    weight: FloatArray
    bias: FloatArray

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return outputs (n, k) for features (n, d)."""
        return np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias


@dataclass(frozen=True)
class _Basis:
    """Standardized features in the basis of their singular vectors."""

    coordinates: FloatArray  # (n, r)
    spectrum: FloatArray  # (r,) mean square of each coordinate
    vectors: FloatArray  # (r, d)
    mean: FloatArray
    scale: FloatArray

    def unfold(self, weight: FloatArray, bias: FloatArray) -> Linear:
        folded = weight @ self.vectors / self.scale
        return Linear(folded, bias - folded @ self.mean)


def _basis(features: FloatArray, standardize: bool = True) -> _Basis:
    x = np.asarray(features, dtype=np.float64)
    mean = x.mean(axis=0)
    scale = x.std(axis=0) if standardize else np.ones(x.shape[1])
    # What varies by no more than fp32 rounding is constant and gets no weight. Standardizing it instead
    # would blow noise up: one dimension of MiniLM would get a weight of millions.
    constant = scale <= 1e-5 * np.maximum(float(scale.max(initial=0.0)), np.abs(mean))
    scale = np.where(constant, 1.0, scale)
    z = np.where(constant, 0.0, (x - mean) / scale)
    n, d = z.shape
    if n < d:
        values, u = np.linalg.eigh(z @ z.T)
        keep = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-30)
        values, u = values[keep], u[:, keep]
        return _Basis(u * np.sqrt(values), values / n, (u / np.sqrt(values)).T @ z, mean, scale)
    values, v = np.linalg.eigh(z.T @ z)
    return _Basis(z @ v, np.maximum(values, 0) / n, v.T, mean, scale)


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` with BLAS on one thread: on small matrices more only wait for each other."""

    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            return function(*args, **kwargs)

    limited.__doc__ = function.__doc__
    return limited


@one_thread
def ridge(features: FloatArray, targets: FloatArray, strengths: Sequence[float]) -> list[Linear]:
    """Return least-squares heads, one a strength, with penalty ``l2 / 2 * |w|^2``.

    The penalty stands beside half the mean squared error; the intercept is not penalized.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> [head] = ridge(x, np.array([1.0, 3.0, 5.0]), [1e-9])
    >>> head.weight.round(4).tolist(), head.bias.round(4).tolist()
    ([[2.0]], [1.0])
    """
    basis, y = _basis(features), np.asarray(targets, dtype=np.float64)
    moment = basis.coordinates.T @ (y - y.mean()) / len(y)
    bias = np.array([y.mean()])
    return [basis.unfold((moment / (basis.spectrum + l2))[None, :], bias) for l2 in strengths]


@one_thread
def softmax_regression(
    features: FloatArray,
    soft: FloatArray,
    weights: FloatArray,
    strengths: Sequence[float],
    standardize: bool = True,
    mixing: FloatArray | None = None,
) -> list[Linear]:
    """Return multinomial logistic heads, one a strength, centered over classes.

    Each minimizes ``mean_i weights_i * H(soft_i, softmax(logits_i)) + l2 / 2 * |V|^2`` with the weights
    ``W = mixing @ V``, solved by L-BFGS from the solution of the strength before. The bias is not penalized.
    It is convex unless rows are sets of candidates, of which it counts the sum of their probabilities.

    Parameters
    ----------
    features : (n, d).
    soft : (n, k) target probabilities, rows sum to 1. A row that sums to more, of zeros and ones, is a set of
        candidates: the row is of one of these classes.
    weights : (n,) non-negative row weights.
    strengths : penalties in units of the mean loss (nats) per squared standardized weight.
    standardize : whether each feature is brought to unit variance first, which coordinates of sparse rows
        are not to be.
    mixing : (k, m), how classes share what is penalized (`textlabel.models.structure`); None: they do not.
    """
    basis = _basis(features, standardize)
    n, k = soft.shape
    mixing = np.eye(k) if mixing is None else mixing
    counts = weights[:, None] * soft / np.maximum(soft.sum(axis=1, keepdims=True), 1.0)
    prior = np.log(np.maximum(counts.mean(axis=0), 1e-12))
    start: tuple[FloatArray, FloatArray]
    start = np.zeros((mixing.shape[1], basis.coordinates.shape[1])), prior - prior.mean()
    heads = []
    for l2 in strengths:
        start = _descend(basis, soft, weights[:, None] / n, l2, mixing, start)
        weight, bias = mixing @ start[0], start[1]
        heads.append(basis.unfold(weight - weight.mean(axis=0), bias - bias.mean()))
    return heads


def _descend(
    basis: _Basis,
    soft: FloatArray,
    row: FloatArray,
    l2: float,
    mixing: FloatArray,
    start: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Return the minimum, weights (m, r) before mixing and bias (k,)."""
    from scipy.optimize import minimize

    (k, m), z = mixing.shape, basis.coordinates
    alone = m == k and bool((mixing == np.eye(k)).all())
    open_rows = np.flatnonzero(soft.sum(axis=1) > 1.5)
    # units in which all curvatures are alike, where all classes are as likely
    curvature = mixing.var(axis=0)[:, None] * basis.spectrum + l2
    unit = np.append((1 / np.sqrt(curvature)).ravel(), np.full(k, 1 / np.sqrt((1 - 1 / k) / k)))

    def parts(flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        return flat[:-k].reshape(m, -1), flat[-k:]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        v, b = parts(flat * unit)
        logits = z @ (v if alone else mixing @ v).T + b
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        total = exp.sum(axis=1, keepdims=True)
        target, surprise = soft, 0.0
        if len(open_rows):
            target, surprise = _opened(soft, open_rows, exp, row)
        value = surprise - (row * target * (logits - np.log(total))).sum() + 0.5 * l2 * (v * v).sum()
        error = row * (exp / total - target)
        slope = error.T @ z
        slope = (slope if alone else mixing.T @ slope) + l2 * v
        return float(value), np.append(slope.ravel(), error.sum(axis=0)) * unit

    options = {"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6}
    at = np.append(start[0].ravel(), start[1]) / unit
    found = minimize(loss, at, jac=True, method="L-BFGS-B", options=options)  # type: ignore[call-overload]
    return parts(found.x * unit)


def _opened(soft: FloatArray, rows: IntArray, exp: FloatArray, row: FloatArray) -> tuple[FloatArray, float]:
    """Return targets in which candidates count as they are likely, and what that takes from the loss.

    The loss of a set of candidates is that of its likely targets less their entropy.
    """
    among = np.maximum(exp[rows] * soft[rows], 1e-300)
    q = among / among.sum(axis=1, keepdims=True)
    target = soft.copy()
    target[rows] = q
    entropy = -(q * np.log(q)).sum(axis=1, keepdims=True)
    return target, -float((row[rows] * entropy).sum())
