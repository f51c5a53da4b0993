"""Confidence as the agreement of the nearest labeled rows with the label."""

from __future__ import annotations

import numpy as np

from textlabel.trust.scores import Evidence, Floats

NAME = "knn"
NEEDS = ("neighbor_labels",)


def score(evidence: Evidence) -> Floats:
    """Return the share of a row's nearest labeled rows that carry its label, (n,) in [0, 1].

    A row without neighbors has 0. With m neighbors there are few values, so many rows are tied.
    """
    assert evidence.neighbor_labels is not None
    agree = evidence.neighbor_labels == evidence.labels[:, None]
    share: Floats = agree.sum(axis=1) / np.maximum((evidence.neighbor_labels >= 0).sum(axis=1), 1)
    return share
