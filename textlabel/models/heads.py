"""Linear heads on cached features: ridge in closed form, softmax regression by L-BFGS. numpy only.

Both standardize the features, penalize the standardized weights and fold the scaling back into the
returned weights, so that a head is nothing but one matrix and one bias and maps onto ``nn.Linear``
exactly. When there are fewer rows than dimensions the fit runs in the row space of the features,
which is exact: a ridge penalty keeps the solution there (the representer theorem).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textlabel.types import FloatArray


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
class _Scaled:
    """Standardized features in an orthonormal basis of their row space."""

    coordinates: FloatArray  # (n, r)
    basis: FloatArray  # (r, d)
    mean: FloatArray
    scale: FloatArray

    def unfold(self, weight: FloatArray, bias: FloatArray) -> Linear:
        folded = weight @ self.basis / self.scale
        return Linear(folded, bias - folded @ self.mean)


def _standardize(features: FloatArray) -> _Scaled:
    x = np.asarray(features, dtype=np.float64)
    mean = x.mean(axis=0)
    scale = x.std(axis=0)
    # A constant feature carries nothing: unit scale keeps it at zero instead of dividing by zero.
    scale = np.where(scale > 1e-9 * max(float(scale.max(initial=0.0)), 1e-30), scale, 1.0)
    z = (x - mean) / scale
    if x.shape[0] >= x.shape[1]:
        return _Scaled(z, np.eye(x.shape[1]), mean, scale)
    u, s, vt = np.linalg.svd(z, full_matrices=False)
    return _Scaled(u * s, vt, mean, scale)


def ridge(features: FloatArray, targets: FloatArray, l2: float) -> Linear:
    """Return the least-squares head with penalty ``l2 / 2 * |w|^2`` beside half the mean squared error.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> head = ridge(x, np.array([1.0, 3.0, 5.0]), l2=1e-9)
    >>> head.weight.round(4).tolist(), head.bias.round(4).tolist()
    ([[2.0]], [1.0])
    """
    scaled = _standardize(features)
    z, y = scaled.coordinates, np.asarray(targets, dtype=np.float64)
    gram = z.T @ z / len(y) + l2 * np.eye(z.shape[1])
    weight = np.linalg.solve(gram, z.T @ (y - y.mean()) / len(y))
    return scaled.unfold(weight[None, :], np.array([y.mean()]))


def softmax_regression(features: FloatArray, soft: FloatArray, weights: FloatArray, l2: float) -> Linear:
    """Return the multinomial logistic head, centered over classes.

    Minimizes ``mean_i weights_i * H(soft_i, softmax(logits_i)) + l2 / 2 * |W|^2``; convex, solved by
    L-BFGS. The bias is not penalized.

    Parameters
    ----------
    features : (n, d).
    soft : (n, k) target probabilities, rows sum to 1.
    weights : (n,) non-negative row weights.
    l2 : penalty in units of the mean loss (nats) per squared standardized weight.
    """
    from scipy.optimize import minimize

    scaled = _standardize(features)
    z = scaled.coordinates
    n, k, r = len(z), soft.shape[1], z.shape[1]
    row = weights[:, None] / n

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        w, b = flat[: k * r].reshape(k, r), flat[k * r :]
        logits = z @ w.T + b
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        total = exp.sum(axis=1, keepdims=True)
        value = -(row * soft * (logits - np.log(total))).sum() + 0.5 * l2 * (w * w).sum()
        error = row * (exp / total - soft)
        return float(value), np.concatenate([(error.T @ z + l2 * w).ravel(), error.sum(axis=0)])

    start = np.zeros(k * r + k)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-9, "gtol": 1e-6}
    )
    w, b = found.x[: k * r].reshape(k, r), found.x[k * r :]
    return scaled.unfold(w - w.mean(axis=0), b - b.mean())
