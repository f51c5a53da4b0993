"""What is minimized: one file, one loss. Here is what several losses share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Context


class OverRows:
    """What losses over labeled rows share: no modules, and epochs that read each row once."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = True

    def __init__(self, options: Any, context: Context) -> None:
        self.options = options
        self.context = context

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one shuffled epoch of rows grouped by length."""
        from textlabel.batching import shuffled

        for index in shuffled(self.context.rows["labeled"].lengths, size, rng):
            yield {"labeled": index}


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
