"""Off the map by the lack of a high logit."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scope import Floating, Map

NAME = "max_logit"
NEEDS = frozenset({"logits"})


def score(logits: Floating, features: Floating, known: Map) -> Floating:
    """Return minus the largest logit (n,) (Hendrycks et al. 2019, arXiv 1911.11132).

    Examples
    --------
    >>> score(np.array([[3.0, 0.0]]), ..., ...).tolist()
    [-3.0]
    """
    return np.asarray(-logits.max(axis=1))
