"""Temperature scaling: one number divides all logits (Guo et al. 2017, arXiv 1706.04599).

It cannot change which class is largest, and one parameter is all that a few labels can fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.trust.calibration import Floats, Ints, checked, softmax

NAME = "temperature"

#: Beyond these every probability is one-hot or uniform: the logits carry no usable scale, and a
#: fit that wants to go there is following a handful of rows, not the model.
LOWEST, HIGHEST = 0.05, 20.0

#: Below this many (effective) rows the prior is always on.
FEW = 20


@dataclass(frozen=True)
class Temperature:
    """Probabilities are ``softmax(logits / temperature)``; above 1 means the model was too sure."""

    temperature: float

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, k), float64, of logits (n, k)."""
        return softmax(np.asarray(logits, dtype=np.float64) / self.temperature)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "temperature": self.temperature}


def from_json(data: dict[str, Any]) -> Temperature:
    """Return the temperature that ``to_json`` wrote; a `BundleError` if it holds none."""
    value = data.get("temperature")
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise BundleError(f"expected a calibrator with a temperature above 0, got {data!r}")
    return Temperature(float(value))


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Temperature:
    """Return the temperature in [0.05, 20] that minimizes the negative log-likelihood.

    The loss is convex in ``1 / T``, so the zero of its slope is the minimum.

    A likelihood from few rows is nearly flat, and where every row is labeled right it rises
    forever as T falls, so that all confidences would become 1. In these two cases (fewer than 20
    effective rows, or no minimum above the lower bound) a prior that weighs as much as one row pulls T
    towards 1: a gamma density of ``1 / T`` with its peak at 1, which keeps the loss convex.

    Parameters
    ----------
    logits : (n, k) of rows that the model did not train on.
    labels : (n,) class numbers in [0, k).
    weights : (n,) non-negative row weights; their effective number is ``sum(w)^2 / sum(w^2)``.

    Raises
    ------
    CorpusError : no rows, shapes that do not agree, a label outside [0, k), unusable weights.
    TrainingError : a logit is not finite.

    Examples
    --------
    >>> sure = [[4.0, 0.0]] * 30 + [[0.0, 4.0]] * 10      # always 98 % sure of class 0 or 1
    >>> round(fit(sure, [0] * 40).temperature, 2)          # right 3 times in 4: logit 1.1
    3.64
    """
    z, y, w = checked(logits, labels, weights)
    slope = _slope(z, y, w)
    few = w.sum() ** 2 / (w**2).sum() < FEW
    temperature = _minimum(slope, prior=1.0 if few else 0.0)
    if not few and temperature == LOWEST:
        temperature = _minimum(slope, prior=1.0)
    return Temperature(temperature)


def _slope(z: Floats, y: Ints, w: Floats) -> Callable[[float], float]:
    """Return the derivative of the summed loss in nats, as a function of ``1 / T``."""
    right = z[np.arange(len(y)), y]
    return lambda inverse: float(w @ ((softmax(z * inverse) * z).sum(axis=1) - right))


def _minimum(slope: Callable[[float], float], prior: float) -> float:
    """Return the temperature at which ``slope`` plus the prior's slope is zero, or the nearer bound."""
    from scipy.optimize import brentq

    def rising(inverse: float) -> float:
        return slope(inverse) + prior * (1 - 1 / inverse)

    if rising(1 / HIGHEST) >= 0:
        return HIGHEST
    if rising(1 / LOWEST) <= 0:
        return LOWEST
    return float(1 / brentq(rising, 1 / HIGHEST, 1 / LOWEST, xtol=1e-12))
