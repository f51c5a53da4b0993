"""Off the map by energy: a text that raises no logit."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scope import Floating, Map

NAME = "energy"
NEEDS = frozenset({"logits"})


def score(logits: Floating, features: Floating, known: Map, temperature: float = 1.0) -> Floating:
    """Return ``-T log sum exp(logits / T)`` (n,) in nats at T = 1 (Liu et al. 2020, arXiv 2010.03759).

    Examples
    --------
    >>> score(np.array([[0.0, 0.0], [9.0, 0.0]]), ..., ...).round(3).tolist()
    [-0.693, -9.0]
    """
    z = logits.astype(np.float64) / temperature
    return np.asarray(-temperature * np.logaddexp.reduce(z, axis=1))
