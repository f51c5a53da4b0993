"""Objective ``supervised_contrastive``: each text is more similar to those of its class than to others.

Compared are the texts of a batch (Khosla et al. 2020, arXiv 2004.11362). It trains the body and leaves the
head alone: fit the head in a stage after it, or sum it with ``cross_entropy``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from textlabel.batching import class_batches
from textlabel.errors import RecipeError
from textlabel.objective import OverRows, cosines
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch, Context

NAME = "supervised_contrastive"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """How sharply texts are told apart.

    Parameters
    ----------
    temperature : cosine similarities are divided by this; smaller looks at the most similar texts only.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise RecipeError(
                f"supervised_contrastive: temperature = {self.temperature}; expected a positive number"
            )


class Objective(OverRows):
    """Mean over the texts of a batch that have a mate; equal texts do not meet."""

    splits: ClassVar[bool] = False

    def __init__(self, options: Options, context: Context) -> None:
        super().__init__(options, context)
        self.rows = context.rows["labeled"]

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of batches in which classes are equally frequent."""
        for index in class_batches(np.asarray(self.rows.targets), size, rng):
            yield {"labeled": index}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch."""
        import torch

        index = batch.index["labeled"]
        groups, targets = self.rows.groups[index], np.asarray(self.rows.targets)[index]
        met = groups[:, None] != groups[None, :]
        mates = met & (targets[:, None] == targets[None, :])
        anchors = np.flatnonzero(mates.any(axis=1))
        features = self.context.output("labeled", index).features
        if not len(anchors):
            return 0.0 * features.sum()
        similar = cosines(features)[torch.from_numpy(anchors)] / self.options.temperature
        others = ~torch.from_numpy(met[anchors]).to(similar.device)
        log_share = similar - similar.masked_fill(others, -torch.inf).logsumexp(dim=1, keepdim=True)
        counts = torch.from_numpy(mates[anchors]).to(similar)
        loss: Tensor = -((log_share * counts).sum(dim=1) / counts.sum(dim=1)).mean()
        return loss
