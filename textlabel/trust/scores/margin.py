"""Confidence as the lead of the most likely class over the next."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scores import Evidence, Floats

NAME = "margin"
NEEDS = ("probabilities",)


def score(evidence: Evidence) -> Floats:
    """Return largest minus second largest probability, (n,) in [0, 1]."""
    second, first = np.partition(evidence.probabilities, -2, axis=1)[:, -2:].T
    lead: Floats = first - second
    return lead
