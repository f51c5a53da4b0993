"""Confidence as the agreement of the nearest labeled rows with the label."""

from __future__ import annotations

from textlabel.trust.scores import Evidence, Floats

NAME = "knn"
NEEDS = ("neighbor_labels",)


def score(evidence: Evidence) -> Floats:
    """Return the share of a row's nearest labeled rows that carry its label, (n,) in [0, 1].

    There are only m + 1 values for m neighbors, so many rows are tied.
    """
    assert evidence.neighbor_labels is not None
    agree = evidence.neighbor_labels == evidence.labels[:, None]
    share: Floats = agree.mean(axis=1)
    return share
