"""Confidence as the probability of the most likely class."""

from __future__ import annotations

from textlabel.trust.scores import Evidence, Floats

NAME = "max_probability"
NEEDS = ("probabilities",)


def score(evidence: Evidence) -> Floats:
    """Return the largest probability of each row, (n,) in [1/k, 1]."""
    largest: Floats = evidence.probabilities.max(axis=1)
    return largest
