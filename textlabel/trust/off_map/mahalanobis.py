"""Off the map by Mahalanobis distance to the nearest class."""

from __future__ import annotations

from textlabel.trust.scope import Floating, Map

NAME = "mahalanobis"
NEEDS = frozenset({"moments"})


def score(logits: Floating, features: Floating, known: Map) -> Floating:
    """Return the squared distance (n,) of features (n, d) to a class mean (arXiv 1807.03888)."""
    return known.moments.mahalanobis(features)
