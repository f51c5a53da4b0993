"""Vector scaling: a scale and a bias a class (Guo et al. 2017, arXiv 1706.04599). It may change labels.

Logits are centered row by row first: a softmax does not see a constant added to a row, and scales that
differ between classes would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.trust.calibration import Floats, checked, numbers, softmax
from textlabel.trust.fitting import fit_affine

NAME = "vector"


@dataclass(frozen=True)
class Vector:
    """Probabilities are ``softmax(scale * (logits - row mean) + bias)``, scale and bias (k,)."""

    scale: tuple[float, ...]
    bias: tuple[float, ...]

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, k), float64, of logits (n, k)."""
        return softmax(_centered(np.asarray(logits, dtype=np.float64)) * np.array(self.scale) + self.bias)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "scale": list(self.scale), "bias": list(self.bias)}


def from_json(data: dict[str, Any]) -> Vector:
    """Return the calibrator that ``to_json`` wrote; a `BundleError` if a number is missing."""
    scale, bias = numbers(data, "scale"), numbers(data, "bias")
    if len(scale) != len(bias):
        raise BundleError(f"expected as many scales as biases, got {data!r}")
    return Vector(scale, bias)


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Vector:
    """Return scales and biases of least penalized log-loss (`textlabel.trust.fitting`).

    Arguments and errors are those of `textlabel.trust.calibration.checked`.

    Examples
    --------
    >>> fitted = fit([[2.0, -2.0]] * 50 + [[-2.0, 2.0]] * 50, [0] * 45 + [1] * 55)
    >>> fitted.apply([[2.0, -2.0]]).round(2).tolist()
    [[0.91, 0.09]]
    """
    z, y, w = checked(logits, labels, weights)
    scale, bias = fit_affine(_centered(z), y, w, shared=False)
    return Vector(tuple(scale.tolist()), tuple(bias.tolist()))


def _centered(z: Floats) -> Floats:
    centered: Floats = z - z.mean(axis=1, keepdims=True)
    return centered
