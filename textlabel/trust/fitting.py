"""What calibrators of several parameters share: one convex fit, and one-vs-rest.

`fit_affine` finds ``softmax(scale * z + bias)``. Its penalty is that of one row: every scale has a gamma
prior with its peak at 1, every bias a standard normal one. So the fit stays finite where classes are
separable or absent, starts from "leave the logits alone", and forgets the prior as rows come in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from textlabel.trust.calibration import Floats, Ints, softmax

#: scales are searched between these, as temperatures are
LEAST_SCALE, MOST_SCALE = 0.05, 20.0

#: probabilities are kept this far from 0 and 1 where their logarithm is needed
_HAIR = 1e-12


def fit_affine(z: Floats, y: Ints, w: Floats, *, shared: bool) -> tuple[Floats, Floats]:
    """Return scale (1,) if ``shared``, else (k,), and bias (k,) of least penalized log-loss.

    The loss, ``sum_i -w_i log softmax(scale * z_i + bias)[y_i] + sum(scale - log(scale)) + sum(bias^2) / 2``,
    is strictly convex, so there is one minimum. Biases sum to zero.

    Parameters
    ----------
    z, y, w : as `textlabel.trust.calibration.checked` gives them.
    """
    from scipy.optimize import fmin_l_bfgs_b

    n, k = z.shape
    scales = 1 if shared else k
    rows, total = np.arange(n), w.sum()

    def loss(theta: Floats) -> tuple[float, Floats]:
        scale, bias = theta[:scales], theta[scales:]
        p = softmax(z * scale + bias)
        likelihood = w @ np.log(np.maximum(p[rows, y], np.finfo(float).tiny))
        penalty = np.sum(scale - np.log(scale)) + bias @ bias / 2
        p[rows, y] -= 1
        p *= w[:, None]
        by_class = np.einsum("ij,ij->j", p, z)
        slope = by_class.sum(keepdims=True) if shared else by_class
        gradient = np.concatenate([slope + 1 - 1 / scale, p.sum(axis=0) + bias])
        return float(penalty - likelihood) / total, gradient / total

    start = np.concatenate([np.ones(scales), np.zeros(k)])
    bounds = [(LEAST_SCALE, MOST_SCALE)] * scales + [(-np.inf, np.inf)] * k
    best, _, _ = fmin_l_bfgs_b(loss, start, bounds=bounds, factr=1e3, pgtol=1e-7, maxiter=500)
    return best[:scales], best[scales:]


def log_odds_parts(logits: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return ``log p`` and ``log(1 - p)``, each (n, k), of the softmax; p kept 1e-12 from 0 and 1."""
    p = np.clip(softmax(logits), _HAIR, 1 - _HAIR)
    return np.log(p), np.log1p(-p)


def one_vs_rest(k: int) -> list[int]:
    """Return the classes that need a fit of their own: all of them, of two only the second.

    Examples
    --------
    >>> one_vs_rest(2), one_vs_rest(3)
    ([1], [0, 1, 2])
    """
    return [1] if k == 2 else list(range(k))


def assemble(values: Callable[[int], Floats], k: int) -> Floats:
    """Return probabilities (n, k) from ``values(c)``, the (n,) probability of class c against the rest.

    Of two classes, the first has what the second leaves. Of more, rows are divided by their sum, as
    Zadrozny and Elkan 2002 do (doi 10.1145/775047.775151): a fix, so a class is calibrated only roughly.
    """
    if k == 2:
        second = values(1)
        return np.stack([1 - second, second], axis=1)
    columns: Sequence[Floats] = [values(c) for c in range(k)]
    p = np.stack(columns, axis=1)
    p /= p.sum(axis=1, keepdims=True)
    return p
