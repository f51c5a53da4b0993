"""What a calibrator is: logits in, probabilities out, and itself as JSON.

A plugin module of kind ``calibrator`` defines ``NAME``, ``fit(logits, labels, weights=None)`` and
``from_json(data)``; both functions return a `Calibrator`. Fit it on logits of rows that the model
did not train on (held out or out-of-fold), never on audits.

A row's label is the class of largest *calibrated* probability, and its confidence is that probability.
A calibrator with more than a temperature may therefore change labels; `textlabel.trust.choice` takes no
such calibrator that labels fewer unseen rows right.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError, CorpusError, TrainingError
from textlabel.registry import load

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: a fit reads at most this many logits, of rows drawn once and for all, but never fewer than so many rows:
#: of ten classes 50,000 rows, which leave a relative standard error below 1 % on a temperature
MOST_LOGITS, MOST_ROWS = 500_000, 10_000


class Calibrator(Protocol):
    """A fitted map from logits to probabilities that can be written as JSON."""

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return probabilities (n, k), rows summing to one, for logits (n, k)."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary whose ``name`` is the plugin's name."""
        ...


class Told(Protocol):
    """What can be written as JSON with a name."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        ...


def softmax(logits: npt.ArrayLike) -> Floats:
    """Return the probabilities (n, k), float64, of logits (n, k).

    Examples
    --------
    >>> softmax([[0.0, 0.0], [1000.0, 0.0]]).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    z = np.array(logits, dtype=np.float64)  # a copy, changed in place: a million rows are 80 MB
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


def checked(
    logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Floats, Ints, Floats]:
    """Return logits (n, k), labels (n,) and weights (n,) that a calibrator can be fitted on.

    Rows of weight zero are left out, and so are rows beyond `MOST_LOGITS`: a uniform draw without
    replacement that depends on n and k only.

    Parameters
    ----------
    logits : (n, k) of rows that the model did not train on.
    labels : (n,) class numbers in [0, k).
    weights : (n,) non-negative row weights; None: all one.

    Raises
    ------
    CorpusError : no rows, shapes that do not agree, a label outside [0, k), unusable weights.
    TrainingError : a logit is not finite.
    """
    z, y = np.asarray(logits, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] < 2 or not len(z) or not y.shape == w.shape == z.shape[:1]:
        raise CorpusError(
            "calibration needs logits (n, k), labels (n,) and weights (n,) with n >= 1 and k >= 2; "
            f"got {z.shape}, {y.shape} and {w.shape}"
        )
    if not np.isfinite(z).all():
        row = int(np.flatnonzero(~np.isfinite(z).all(axis=1))[0])
        raise TrainingError(
            f"logits of calibration row {row} are not finite: {z[row].tolist()}; the fit diverged"
        )
    if y.min() < 0 or y.max() >= z.shape[1]:
        raise CorpusError(f"expected labels in [0, {z.shape[1]}), got {y.min()} to {y.max()}")
    if not (w >= 0).all() or not 0 < w.sum() < np.inf:
        raise CorpusError("expected finite row weights that are not negative and not all zero")
    keep = np.flatnonzero(w)
    most = max(MOST_LOGITS // z.shape[1], MOST_ROWS)
    if len(keep) > most:
        keep = np.sort(np.random.default_rng(0).choice(keep, most, replace=False))
    return (z, y, w) if len(keep) == len(y) else (z[keep], y[keep], w[keep])


def from_json(data: dict[str, Any]) -> Calibrator:
    """Return the calibrator that ``to_json`` wrote.

    Raises
    ------
    BundleError : ``data`` does not name its calibrator.
    PluginError : no calibrator of that name is installed.

    Examples
    --------
    >>> from_json({"name": "temperature", "temperature": 2.0}).apply([[2.0, 2.0]]).tolist()
    [[0.5, 0.5]]
    """
    if not isinstance(data.get("name"), str):
        raise BundleError(f"expected a calibrator such as {{'name': 'temperature', ...}}, got {data!r}")
    calibrator: Calibrator = load("calibrator", data["name"]).from_json(data)
    return calibrator


def numbers(data: dict[str, Any], key: str) -> tuple[float, ...]:
    """Return the list of finite numbers that a calibrator's JSON holds under ``key``.

    Raises
    ------
    BundleError : no such list.

    Examples
    --------
    >>> numbers({"name": "vector", "bias": [0, 0.5]}, "bias")
    (0.0, 0.5)
    """
    values = data.get(key)
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(v, int | float) and np.isfinite(v) for v in values)
    ):
        raise BundleError(f"expected a calibrator with a list of finite numbers {key!r}, got {data!r}")
    return tuple(map(float, values))


def describe(calibrator: Told) -> dict[str, Any]:
    """Return the calibrator's name and single numbers, for a record; its lists can be long.

    Examples
    --------
    >>> describe(from_json({"name": "bias_corrected", "temperature": 2.0, "bias": [0.5, -0.5]}))
    {'name': 'bias_corrected', 'temperature': 2.0}
    """
    return {key: value for key, value in calibrator.to_json().items() if not isinstance(value, list)}
