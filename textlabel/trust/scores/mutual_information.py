"""Confidence as the absence of disagreement between several heads.

The mutual information of label and head, ``H(mean p) - mean H(p)``, is what the heads' disagreement adds to
the entropy of a row (Houlsby et al. 2011, arXiv 1112.5745): doubt that more labels could settle.
"""

from __future__ import annotations

import numpy as np

from textlabel.trust.scores import Evidence, Floats, entropy_of

NAME = "mutual_information"
NEEDS = ("members",)


def score(evidence: Evidence) -> Floats:
    """Return ``1 - I / log k``, (n,) in [0, 1]; 1 where all heads agree."""
    members = evidence.members
    assert members is not None
    information = entropy_of(members.mean(axis=0)) - np.mean([entropy_of(p) for p in members], axis=0)
    surety: Floats = np.clip(1 - information / np.log(members.shape[2]), 0.0, 1.0)
    return surety
