"""Off the map by the distance to the k-th nearest training row; only where their features are kept."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scope import Floating, Map

NAME = "knn"
NEEDS = frozenset({"reference"})


def score(logits: Floating, features: Floating, known: Map, k: int = 10) -> Floating:
    """Return the distance (n,) in [0, 2] to the k-th nearest training row (arXiv 2204.06507).

    Features are scaled to length one first. With fewer than k training rows it is the distance to the
    furthest of them. Rows that are themselves in the reference are their own nearest neighbors: for a
    threshold take cross-fitted scores.
    """
    assert known.reference is not None
    place = max(len(known.reference.features) - k, 0)
    found = np.empty(len(features), dtype=np.float32)
    for part, cosines in known.reference.cosines(features):
        kth = np.partition(cosines, place, axis=1)[:, place]
        found[part] = np.sqrt(np.maximum(2 - 2 * kth, 0))
    return found
