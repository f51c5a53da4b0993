"""Confidence as nearness to the training rows: rows off the map come last."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scores import Evidence, Floats

NAME = "distance"
NEEDS = ("ood_score",)


def score(evidence: Evidence) -> Floats:
    """Return minus the off-the-map score, (n,); unbounded, and it does not look at the label."""
    return -np.asarray(evidence.ood_score, dtype=np.float64)
