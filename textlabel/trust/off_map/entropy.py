"""Off the map by the entropy of the classes."""

from __future__ import annotations

import numpy as np

from textlabel.trust.calibration import softmax
from textlabel.trust.scope import Floating, Map

NAME = "entropy"
NEEDS = frozenset({"logits"})


def score(logits: Floating, features: Floating, known: Map) -> Floating:
    """Return the entropy (n,) of the uncalibrated probabilities, in nats in [0, log k].

    Examples
    --------
    >>> score(np.array([[0.0, 0.0]]), ..., ...).round(3).tolist()
    [0.693]
    """
    p = softmax(logits)
    # 0 log 0 is 0: the log sees 1 there
    entropy: Floating = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return entropy
