"""Confidence as the mean probability that several heads give the label.

Heads fitted to different folds differ where rows are few; a mean of their probabilities is less sure there
than one head (Lakshminarayanan et al. 2017, arXiv 1612.01474). The label stays that of the final model,
which is another model than this mean: a temperature fitted to one need not suit the other.
"""

from __future__ import annotations

import numpy as np

from textlabel.trust.scores import Evidence, Floats

NAME = "ensemble"
NEEDS = ("members",)


def score(evidence: Evidence) -> Floats:
    """Return the mean over heads of the label's probability, (n,) in [0, 1]."""
    assert evidence.members is not None
    mean = evidence.members.mean(axis=0)
    of_label: Floats = mean[np.arange(len(mean)), evidence.labels]
    return of_label
