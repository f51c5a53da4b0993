"""Isotonic calibration: any rising curve for each class (Zadrozny, Elkan 2002, doi 10.1145/775047.775151).

With more than two classes each is set against the rest and rows are divided by their sum. It needs
more than a thousand rows, may change labels, and its curves are flat in places: rows there share one
confidence and can no longer be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.trust.calibration import Floats, checked, numbers, softmax
from textlabel.trust.fitting import assemble, one_vs_rest

NAME = "isotonic"


@dataclass(frozen=True)
class Curve:
    """A rising curve through points, straight between them and flat outside."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Isotonic:
    """The curve of each fitted class: all k of them, or of two classes only the second's."""

    curves: tuple[Curve, ...]

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, k), float64, of logits (n, k)."""
        p = softmax(logits)
        k = p.shape[1]

        def value(c: int) -> Floats:
            curve = self.curves[one_vs_rest(k).index(c)]
            return np.interp(p[:, c], curve.x, curve.y)

        return assemble(value, k)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "curves": [{"x": list(c.x), "y": list(c.y)} for c in self.curves]}


def from_json(data: dict[str, Any]) -> Isotonic:
    """Return the calibrator that ``to_json`` wrote; a `BundleError` if a curve does not rise."""
    found = data.get("curves")
    if not isinstance(found, list) or not found or not all(isinstance(curve, dict) for curve in found):
        raise BundleError(f"expected a calibrator with a list of 'curves', got {str(data)[:200]}")
    curves = tuple(Curve(numbers(curve, "x"), numbers(curve, "y")) for curve in found)
    for curve in curves:
        if len(curve.x) != len(curve.y) or np.any(np.diff(curve.x) < 0) or np.any(np.diff(curve.y) < 0):
            raise BundleError(f"expected curves of points (x, y) that rise, got {str(data)[:200]}")
    return Isotonic(curves)


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Isotonic:
    """Return the rising curves of least squared error (PAVA, through scikit-learn).

    Their ends are kept away from 0 and 1 by one row's worth: n rows never show that a probability is 0.
    Arguments and errors are those of `textlabel.trust.calibration.checked`.

    Examples
    --------
    >>> fitted = fit([[0.0, 2.0]] * 50 + [[0.0, -2.0]] * 50, [1] * 45 + [0] * 55)
    >>> fitted.apply([[0.0, 2.0]]).round(2).tolist()
    [[0.1, 0.9]]
    """
    z, y, w = checked(logits, labels, weights)
    p = softmax(z)
    return Isotonic(tuple(_curve(p[:, c], y == c, w) for c in one_vs_rest(z.shape[1])))


def _curve(p: Floats, hit: npt.NDArray[np.bool_], w: Floats) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    hair = 1 / (len(w) + 2)
    found = IsotonicRegression(y_min=hair, y_max=1 - hair).fit(p, hit.astype(np.float64), sample_weight=w)
    return Curve(tuple(found.X_thresholds_.tolist()), tuple(found.y_thresholds_.tolist()))
