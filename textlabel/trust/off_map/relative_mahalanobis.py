"""Off the map by relative Mahalanobis distance: far from every class, measured against the bulk of rows."""

from __future__ import annotations

from textlabel.trust.scope import Floating, Map

NAME = "relative_mahalanobis"
NEEDS = frozenset({"moments"})


def score(logits: Floating, features: Floating, known: Map) -> Floating:
    """Return the relative Mahalanobis distance (n,) of features (n, d) (arXiv 2106.09022)."""
    return known.moments.relative_mahalanobis(features)
