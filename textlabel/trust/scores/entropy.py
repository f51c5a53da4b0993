"""Confidence as the absence of entropy."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scores import Evidence, Floats, entropy_of

NAME = "entropy"
NEEDS = ("probabilities",)


def score(evidence: Evidence) -> Floats:
    """Return ``1 - H / log k``, (n,) in [0, 1]; 1 is surest."""
    p = evidence.probabilities
    surety: Floats = np.clip(1 - entropy_of(p) / np.log(p.shape[1]), 0.0, 1.0)
    return surety
