"""Histogram binning of the confidence: the share of right labels in each bin (Zadrozny and Elkan 2001).

Rows are cut into bins of equal mass by the probability of their likeliest class; a row's confidence is
the share of right rows in its bin (the top-label form of Gupta and Ramdas 2022, arXiv 2107.08353). The label
stays: what the confidence leaves goes to the other classes in the proportions that the softmax gave
them, flattened only as far as needed to keep each of them below the label. A label is never less
likely than another class, so a bin that is right less often than 1/k is given 1/k.

It needs more than a thousand rows, and all rows of a bin share one confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.trust.calibration import Floats, Ints, checked, numbers, softmax

NAME = "histogram"

#: bins, where there are as many distinct confidences
BINS = 15

#: how much more than the others, relatively, the label keeps at least
_HAIR = 1e-9


@dataclass(frozen=True)
class Histogram:
    """Bins of the top probability: inner borders, rising, and one confidence more than borders."""

    borders: tuple[float, ...]
    confidence: tuple[float, ...]

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, k), float64, of logits (n, k)."""
        p = softmax(logits)
        rows, best = np.arange(len(p)), p.argmax(axis=1)
        sure = np.array(self.confidence)[_bins(p[rows, best], self.borders)]
        return _with_top(p, rows, best, sure)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"name": NAME, "borders": list(self.borders), "confidence": list(self.confidence)}


def from_json(data: dict[str, Any]) -> Histogram:
    """Return the calibrator that ``to_json`` wrote; a `BundleError` if bins are missing or out of order."""
    borders = numbers(data, "borders") if data.get("borders") != [] else ()
    confidence = numbers(data, "confidence")
    outside = min(confidence) < 0 or max(confidence) > 1
    if len(confidence) != len(borders) + 1 or np.any(np.diff(borders) <= 0) or outside:
        raise BundleError(
            f"expected rising 'borders' and one probability more as 'confidence', got {str(data)[:200]}"
        )
    return Histogram(borders, confidence)


def fit(logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Histogram:
    """Return the bins and their shares of right rows.

    A bin's own mean probability counts as one further row of it, so that no share is 0 or 1.
    Arguments and errors are those of `textlabel.trust.calibration.checked`.

    Examples
    --------
    >>> fitted = fit([[0.0, 2.0]] * 60 + [[1.0, 0.0]] * 40, [1] * 54 + [0] * 6 + [0] * 20 + [1] * 20)
    >>> fitted.apply([[0.0, 2.0], [1.0, 0.0]]).round(2).tolist()
    [[0.1, 0.9], [0.51, 0.49]]
    """
    z, y, w = checked(logits, labels, weights)
    p = softmax(z)
    best = p.argmax(axis=1)
    top = p[np.arange(len(p)), best]
    inner = np.quantile(top, np.arange(1, BINS) / BINS, method="inverted_cdf")
    borders = np.unique(np.nextafter(inner[inner < top.max()], 1.0))  # a border's own rows lie below it
    bin_of = _bins(top, borders)
    weight = np.bincount(bin_of, weights=w)
    right = np.bincount(bin_of, weights=w * (best == y))
    prior = np.bincount(bin_of, weights=w * top) / weight
    return Histogram(tuple(borders.tolist()), tuple(((right + prior) / (weight + 1)).tolist()))


def _bins(top: Floats, borders: npt.ArrayLike) -> Ints:
    found: Ints = np.searchsorted(np.asarray(borders, dtype=np.float64), top, side="right").astype(np.int64)
    return found


def _with_top(p: Floats, rows: Ints, best: Ints, sure: Floats) -> Floats:
    """Return ``p`` with probability ``sure`` at ``best`` and the rest below it, in proportion if possible."""
    k = p.shape[1]
    sure = np.maximum(sure, (1 + 1e-6) / k)
    rest = p.copy()
    rest[rows, best] = 0
    mass = rest.sum(axis=1)
    even = 1 / (k - 1)
    rest = np.where(mass[:, None] > 0, rest / np.where(mass > 0, mass, 1)[:, None], even)
    # shares of the rest are bent towards even until the largest of them is below the label
    most = rest.max(axis=1)
    limit = np.divide(sure, 1 - sure, out=np.full_like(sure, np.inf), where=sure < 1) * (1 - _HAIR)
    bend = np.divide(limit - even, most - even, out=np.ones_like(most), where=most > limit)
    rest = (even + np.clip(bend, 0, 1)[:, None] * (rest - even)) * (1 - sure)[:, None]
    rest[rows, best] = sure
    whole: Floats = rest
    return whole
