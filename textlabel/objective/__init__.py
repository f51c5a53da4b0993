"""What is minimized: one file, one loss. Here is what several losses share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor


def balanced_weights(targets: IntArray, classes: int) -> FloatArray:
    """Return one weight a class (classes,) with which each class counts the same in total; mean 1 over rows.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    counts = np.bincount(targets, minlength=classes)
    present = counts > 0
    weights = np.ones(classes)
    weights[present] = len(targets) / (present.sum() * counts[present])
    return weights


def cosines(features: Tensor) -> Tensor:
    """Return the cosine similarity (b, b) of features (b, d), in float32 whatever the pass around it has."""
    import torch
    from torch.nn.functional import normalize

    with torch.autocast(features.device.type, enabled=False):
        unit = normalize(features.float(), dim=-1)
        found: Tensor = unit @ unit.T
        return found
