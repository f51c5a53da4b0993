"""What a calibrator is: logits in, probabilities out, and itself as JSON.

A plugin module of kind ``calibrator`` defines ``NAME``, ``fit(logits, labels, weights=None)`` and
``from_json(data)``; both functions return a `Calibrator`. Fit it on logits of rows that the model
did not train on (held out or out-of-fold), never on audits.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError
from textlabel.registry import load

Floats = npt.NDArray[np.float64]


class Calibrator(Protocol):
    """A fitted map from logits to probabilities that can be written as JSON."""

    def apply(self, logits: npt.ArrayLike) -> Floats:
        """Return probabilities (n, k), rows summing to one, for logits (n, k)."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary whose ``name`` is the plugin's name."""
        ...


def softmax(logits: npt.ArrayLike) -> Floats:
    """Return the probabilities (n, k), float64, of logits (n, k).

    Examples
    --------
    >>> softmax([[0.0, 0.0], [1000.0, 0.0]]).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    z = np.asarray(logits, dtype=np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p: Floats = e / e.sum(axis=1, keepdims=True)
    return p


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
