"""Bias-corrected temperature scaling: one temperature and a bias a class (Alexandari 2020, arXiv 1901.06852).

The biases correct class frequencies, so labels may change: rows at the border go to the class that the
model gave too rarely. That is right for texts with the class frequencies of the calibration rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.trust.calibration import Floats, checked, numbers, softmax
from textlabel.trust.fitting import fit_affine

NAME = "bias_corrected"


@dataclass(frozen=True)
class BiasCorrected:
    """Probabilities are ``softmax(logits / temperature + bias)``, with a bias (k,) for each class."""

    temperature: float
    bias: tuple[float, ...]

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, k), float64, of logits (n, k)."""
        return softmax(np.asarray(logits, dtype=np.float64) / self.temperature + np.array(self.bias))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "temperature": self.temperature, "bias": list(self.bias)}


def from_json(data: dict[str, Any]) -> BiasCorrected:
    """Return the calibrator that ``to_json`` wrote; a `BundleError` if a number is missing."""
    value = data.get("temperature")
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise BundleError(f"expected a calibrator with a temperature above 0, got {data!r}")
    return BiasCorrected(float(value), numbers(data, "bias"))


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> BiasCorrected:
    """Return temperature and biases of least penalized log-loss (`textlabel.trust.fitting`).

    Arguments and errors are those of `textlabel.trust.calibration.checked`.

    Examples
    --------
    >>> fitted = fit([[1.0, 0.0]] * 100, [0] * 50 + [1] * 50)  # the model leans to class 0, wrongly
    >>> fitted.apply([[1.0, 0.0]]).round(2).tolist()
    [[0.5, 0.5]]
    """
    scale, bias = fit_affine(*checked(logits, labels, weights), shared=True)
    return BiasCorrected(float(1 / scale[0]), tuple(bias.tolist()))
