"""Beta calibration: three numbers a class (Kull, Silva Filho, Flach 2017, doi 10.1214/17-EJS1338SI).

The log-odds of a class become ``a log p - b log(1 - p) + c`` with ``a, b > 0``: a family that holds the
identity (a = b = 1, c = 0) and bends each end of the probability scale by itself. With more than two
classes each is set against the rest and rows are divided by their sum. It may change labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.trust.calibration import Floats, checked, numbers
from textlabel.trust.fitting import assemble, fit_affine, log_odds_parts, one_vs_rest

NAME = "beta"


@dataclass(frozen=True)
class Beta:
    """The numbers of each fitted class: all k of them, or of two classes only the second's."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: tuple[float, ...]

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, k), float64, of logits (n, k)."""
        inside, outside = log_odds_parts(logits)
        k = inside.shape[1]

        def odds(c: int) -> Floats:
            i = one_vs_rest(k).index(c)
            against: Floats = self.b[i] * outside[:, c] - self.a[i] * inside[:, c] - self.c[i]
            values: Floats = 1 / (1 + np.exp(against))
            return values

        return assemble(odds, k)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "a": list(self.a), "b": list(self.b), "c": list(self.c)}


def from_json(data: dict[str, Any]) -> Beta:
    """Return the calibrator that ``to_json`` wrote; a `BundleError` if a number is missing."""
    a, b, c = (numbers(data, key) for key in "abc")
    if not len(a) == len(b) == len(c):
        raise BundleError(f"expected as many numbers a, b and c, got {data!r}")
    return Beta(a, b, c)


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Beta:
    """Return the numbers of least penalized log-loss (`textlabel.trust.fitting`).

    Arguments and errors are those of `textlabel.trust.calibration.checked`.

    Examples
    --------
    >>> fitted = fit([[0.0, 2.0]] * 50 + [[0.0, -2.0]] * 50, [1] * 45 + [0] * 55)
    >>> fitted.apply([[0.0, 2.0]]).round(2).tolist()
    [[0.1, 0.9]]
    """
    z, y, w = checked(logits, labels, weights)
    inside, outside = log_odds_parts(z)
    found = []
    for c in one_vs_rest(z.shape[1]):
        # two-class vector scaling of log p and log(1 - p) is the same family and the same likelihood
        pair = np.stack([outside[:, c], inside[:, c]], axis=1)
        (b, a), (left, right) = fit_affine(pair, (y == c).astype(np.int64), w, shared=False)
        found.append((float(a), float(b), float(right - left)))
    a_s, b_s, c_s = zip(*found, strict=True)
    return Beta(a_s, b_s, c_s)
