"""No calibration: probabilities are the plain softmax of the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from textlabel.trust.calibration import Floats, softmax

NAME = "none"


@dataclass(frozen=True)
class Uncalibrated:
    """The softmax, as trained."""

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return the softmax (n, k) of logits (n, k)."""
        return softmax(logits)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME}


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Uncalibrated:
    """Return the calibrator that learns nothing."""
    return Uncalibrated()


def from_json(data: dict[str, Any]) -> Uncalibrated:
    """Return the calibrator that ``to_json`` wrote."""
    return Uncalibrated()
