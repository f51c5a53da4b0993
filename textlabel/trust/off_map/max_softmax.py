"""Off the map by the lack of a likely class."""

from __future__ import annotations

import numpy as np

from textlabel.trust.calibration import softmax
from textlabel.trust.scope import Floating, Map

NAME = "max_softmax"
NEEDS = frozenset({"logits"})


def score(logits: Floating, features: Floating, known: Map) -> Floating:
    """Return one minus the largest uncalibrated probability, (n,) in [0, 1 - 1/k] (arXiv 1610.02136).

    Examples
    --------
    >>> score(np.array([[0.0, 0.0]]), ..., ...).tolist()
    [0.5]
    """
    return np.asarray(1 - softmax(logits).max(axis=1))
