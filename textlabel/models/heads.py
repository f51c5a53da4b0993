"""Linear heads on cached features: ridge in closed form, softmax and logistic by L-BFGS. numpy only.

Both standardize the features, penalize the standardized weights and fold the scaling back into the
returned weights, so that a head is nothing but one matrix and one bias and maps onto ``nn.Linear``
exactly. They work in the singular basis of the features, which is computed once for all strengths
of the penalty. Where there are fewer rows than dimensions this loses nothing: a ridge penalty keeps
the solution in the row space (the representer theorem).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")


#: targets of a row that sum to more are a set of candidates
SEVERAL = 1.5


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
class Basis:
    """Standardized features in the basis of their singular vectors."""

    coordinates: FloatArray  # (n, r)
    spectrum: FloatArray  # (r,) mean square of each coordinate
    vectors: FloatArray  # (r, d)
    mean: FloatArray
    scale: FloatArray

    def unfold(self, weight: FloatArray, bias: FloatArray) -> Linear:
        """Return the head of features that is ``coordinates @ weight.T + bias``."""
        folded = weight @ self.vectors / self.scale
        return Linear(folded, bias - folded @ self.mean)


def singular_basis(
    features: FloatArray, standardize: bool = True, row_weights: FloatArray | None = None
) -> Basis:
    """Return centered features (n, d), each of unit variance if ``standardize``, in a basis of their span.

    Mean and variance are those of rows as often as ``row_weights`` (n,) say; None: once each.
    """
    x = np.asarray(features, dtype=np.float64)
    mean = x.mean(axis=0) if row_weights is None else np.average(x, axis=0, weights=row_weights)
    scale = np.ones(x.shape[1])
    if standardize and row_weights is None:
        scale = x.std(axis=0)
    elif standardize:
        scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=row_weights))
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
        return Basis(u * np.sqrt(values), values / n, (u / np.sqrt(values)).T @ z, mean, scale)
    values, v = np.linalg.eigh(z.T @ z)
    return Basis(z @ v, np.maximum(values, 0) / n, v.T, mean, scale)


@cache
def _blas() -> ThreadpoolController:
    import scipy.linalg  # noqa: F401 - has a BLAS of its own, which must be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()  # looking for libraries takes longer than many a small head


def blas_on_one_thread() -> AbstractContextManager[Any]:
    """Return what keeps BLAS on one thread: on small matrices more only wait for each other."""
    found: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return found


def one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` with BLAS on one thread."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with blas_on_one_thread():
            return function(*args, **kwargs)

    return limited


def one_hot(targets: IntArray | FloatArray, classes: int) -> FloatArray:
    """Return target probabilities (n, k) of classes (n,), or as they are given.

    Examples
    --------
    >>> one_hot(np.array([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.asarray(targets, np.float64) if targets.ndim == 2 else np.eye(classes)[targets]


@one_thread
def ridge(features: FloatArray, targets: FloatArray, strengths: Sequence[float]) -> list[Linear]:
    """Return least-squares heads, one a strength, with penalty ``l2 / 2 * |w|^2``.

    The penalty stands beside half the mean squared error; the intercept is not penalized.

    Parameters
    ----------
    targets : (n,) of one output, or (n, k).

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> [head] = ridge(x, np.array([1.0, 3.0, 5.0]), [1e-9])
    >>> head.weight.round(4).tolist(), head.bias.round(4).tolist()
    ([[2.0]], [1.0])
    """
    basis, y = singular_basis(features), _columns(targets)
    bias = y.mean(axis=0)
    moment = (y - bias).T @ basis.coordinates / len(y)
    return [basis.unfold(moment / (basis.spectrum + l2), bias) for l2 in strengths]


def leave_one_out(
    features: FloatArray, targets: FloatArray, strengths: Sequence[float]
) -> Iterator[FloatArray]:
    """Yield what `ridge` says (n, k) of each row when it did not learn from it, for each strength.

    It is exact, from one fit: a row's own target counts for its prediction with the leverage h, and without
    it the prediction p becomes ``(p - h y) / (1 - h)``. Rows with equal features are left out together, with
    the sums of h and h y over them. Only how features are standardized is not learned anew.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [2.0]])
    >>> [held] = leave_one_out(x, np.array([1.0, 3.0, 0.0]), [1e-9])
    >>> held[:, 0].round(3).tolist()  # of each row, what the line through the two others says
    [6.0, 0.5, 5.0]
    """
    with blas_on_one_thread():
        basis, y = singular_basis(features), _columns(targets)
        same, times = _equal_rows(basis.coordinates)
        sums = np.zeros((len(times), y.shape[1]))
        np.add.at(sums, same, y)
        bias = y.mean(axis=0)
        moment = (y - bias).T @ basis.coordinates / len(y)
    for l2 in strengths:
        with blas_on_one_thread():
            scaled = basis.coordinates / (basis.spectrum + l2)
            leverage = (1 + (scaled * basis.coordinates).sum(axis=1)) / len(y)
            outputs = scaled @ moment.T + bias
            left = np.maximum(1 - times[same] * leverage, 1e-9)
            found = (outputs - leverage[:, None] * sums[same]) / left[:, None]
        yield found


def _equal_rows(coordinates: FloatArray, most: float = 1e-3) -> tuple[IntArray, IntArray]:
    """Return a number (n,) that rows share which are equal but for rounding, and how many rows have each."""
    order = np.argsort(coordinates[:, -1]) if coordinates.shape[1] else np.arange(len(coordinates))
    differ = np.abs(np.diff(coordinates[order], axis=0)).max(axis=1, initial=0.0) > most
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.concatenate([[0], np.cumsum(differ)])
    return number, np.bincount(number)


def best_scale(outputs: FloatArray, soft: FloatArray) -> tuple[float, float]:
    """Return the factor, within e^5, that makes logits of outputs (n, k), and their mean loss in nats.

    Without limits it were infinite where every row is right; so the targets say that one row of n + 1 may be
    of any class.

    Parameters
    ----------
    soft : (n, k) target probabilities.

    Examples
    --------
    >>> scale, loss = best_scale(np.array([[1.0, 0.0]] * 3), np.eye(2)[[0, 0, 1]])
    >>> round(scale, 2), round(loss, 2)  # log(2.5 / 1.5)
    (0.51, 0.66)
    """
    from scipy.optimize import minimize_scalar

    n, k = soft.shape
    wanted = (n * soft + 1 / k) / (n + 1)

    def loss(log_scale: float) -> float:
        logits = outputs * np.exp(log_scale)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-(wanted * log_p).sum(axis=1).mean())

    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded")
    return float(np.exp(best.x)), float(best.fun)


def unit_scale(outputs: FloatArray, soft: FloatArray) -> tuple[float, float]:
    """Return what `best_scale` does, of outputs that may be of any size: they are brought to that of 1 first.

    Examples
    --------
    >>> scale, loss = unit_scale(np.array([[1e6, 0.0]] * 3), np.eye(2)[[0, 0, 1]])
    >>> round(scale * 1e6, 2), round(loss, 2)
    (0.51, 0.66)
    """
    size = float(outputs.std()) or 1.0
    scale, loss = best_scale(outputs / size, soft)
    return scale / size, loss


def _columns(targets: FloatArray) -> FloatArray:
    y = np.asarray(targets, dtype=np.float64)
    return y[:, None] if y.ndim == 1 else y


def softmax_regression(
    features: FloatArray,
    soft: FloatArray,
    weights: FloatArray,
    strengths: Sequence[float],
    standardize: bool = True,
    mixing: FloatArray | None = None,
    row_weights: FloatArray | None = None,
) -> Iterator[Linear]:
    """Yield multinomial logistic heads, one a strength, centered over classes; each is solved when asked for.

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
    row_weights : (n,) as how many rows each counts, where features are standardized, too; it multiplies
        ``weights``, which count in the loss alone. None: as one.
    """
    with blas_on_one_thread():
        basis = singular_basis(features, standardize, row_weights)
    if row_weights is not None:
        weights = weights * row_weights
    del features  # several of these wait beside each other for their next strength
    n, k = soft.shape
    mixing = np.eye(k) if mixing is None else mixing
    counts = weights[:, None] * soft / np.maximum(soft.sum(axis=1, keepdims=True), 1.0)
    prior = np.log(np.maximum(counts.mean(axis=0), 1e-12))
    start: tuple[FloatArray, FloatArray]
    start = np.zeros((mixing.shape[1], basis.coordinates.shape[1])), prior - prior.mean()
    losses = _candidates if (soft.sum(axis=1) > SEVERAL).any() else _softmax
    for l2 in strengths:
        with blas_on_one_thread():
            start = _descend(basis, soft, weights[:, None] / n, l2, mixing, start, losses)
            weight, bias = mixing @ start[0], start[1]
            head = basis.unfold(weight - weight.mean(axis=0), bias - bias.mean())
        yield head


@one_thread
def logistic_regressions(
    features: FloatArray, answers: FloatArray, weights: FloatArray, strengths: Sequence[float]
) -> list[Linear]:
    """Return logistic heads of k independent yes-no questions, one a strength, side by side.

    Each output minimizes ``mean_i weights_ic * H(answers_ic, sigmoid(logit_ic)) + l2 / 2 * |w_c|^2``: convex,
    solved by L-BFGS for all at once, from the solution of the strength before. The bias is not penalized. A
    question that all rows answer alike gets no weights, and the log-odds of half an answer to the contrary.

    Parameters
    ----------
    features : (n, d).
    answers : (n, k) probabilities of yes.
    weights : (n, k) non-negative weights of answers.
    strengths : penalties in units of the mean loss (nats) per squared standardized weight.

    Examples
    --------
    >>> x, y = np.array([[-1.0], [0.0], [1.0], [2.0]]), np.array([[0.0, 1], [1, 1], [0, 1], [1, 1]])
    >>> [head] = logistic_regressions(x, y, np.ones((4, 2)), [0.1])
    >>> bool(head.weight[0, 0] > 0), head.weight[1].tolist(), head.bias[1].round(3).tolist()
    (True, [0.0], 2.197)
    """
    basis = singular_basis(features)
    n, k = answers.shape
    yes, no = (weights * answers).sum(axis=0), (weights * (1 - answers)).sum(axis=0)
    one_sided = (yes == 0) | (no == 0)
    half = 0.5 * one_sided
    start: tuple[FloatArray, FloatArray]
    start = np.zeros((k, basis.coordinates.shape[1])), np.log((yes + half) / (no + half))
    row = np.where(one_sided, 0.0, weights) / n
    heads = []
    for l2 in strengths:
        start = _descend(basis, answers, row, l2, np.eye(k), start, _logistic)
        heads.append(basis.unfold(*start))
    return heads


def _softmax(logits: FloatArray, soft: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each class's share of the cross-entropy (n, k), and its slope (n, k) along the logits."""
    logits -= logits.max(axis=1, keepdims=True)
    exp = np.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    return -soft * (logits - np.log(total)), exp / total - soft


def _candidates(logits: FloatArray, soft: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what `_softmax` does, where rows may be sets of candidates: candidates count as they are likely.

    The loss of such a row, ``-log(sum of p)``, is the cross-entropy of these targets less their entropy.
    """
    several = soft.sum(axis=1) > SEVERAL
    probabilities = _softmax(logits, soft)[1] + soft
    among = np.maximum(probabilities[several] * soft[several], 1e-300)
    likely = soft.copy()
    likely[several] = among / among.sum(axis=1, keepdims=True)
    losses, slope = _softmax(logits, likely)
    losses[several] += likely[several] * np.log(likely[several])
    return losses, slope


def _logistic(logits: FloatArray, answers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the binary cross-entropy (n, k) of each answer, and its slope (n, k) along the logits."""
    log_rest = np.logaddexp(0, logits)  # -log(1 - p)
    return log_rest - answers * logits, np.exp(logits - log_rest) - answers


def _descend(
    basis: Basis,
    wanted: FloatArray,
    row: FloatArray,
    l2: float,
    mixing: FloatArray,
    start: tuple[FloatArray, FloatArray],
    losses: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
) -> tuple[FloatArray, FloatArray]:
    """Return the minimum, weights (m, r) before mixing and bias (k,).

    Parameters
    ----------
    losses : gives losses and their slopes (n, k) for logits, which it may change, and what is wanted (n, k).
    """
    from scipy.optimize import minimize

    (k, m), z = mixing.shape, basis.coordinates
    alone = m == k and bool((mixing == np.eye(k)).all())
    # units in which all curvatures are about alike, where all classes are as likely
    curvature = mixing.var(axis=0)[:, None] * basis.spectrum + l2
    unit = np.append((1 / np.sqrt(curvature)).ravel(), np.full(k, 1 / np.sqrt((1 - 1 / k) / k)))

    def parts(flat: FloatArray) -> tuple[FloatArray, FloatArray]:
        return flat[:-k].reshape(m, -1), flat[-k:]

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        v, b = parts(flat * unit)
        found, slope = losses(z @ (v if alone else mixing @ v).T + b, wanted)
        error = row * slope
        along = error.T @ z
        along = (along if alone else mixing.T @ along) + l2 * v
        value = (row * found).sum() + 0.5 * l2 * (v * v).sum()
        return float(value), np.append(along.ravel(), error.sum(axis=0)) * unit

    options = {"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6}
    at = np.append(start[0].ravel(), start[1]) / unit
    found = minimize(loss, at, jac=True, method="L-BFGS-B", options=options)  # type: ignore[call-overload]
    return parts(found.x * unit)
