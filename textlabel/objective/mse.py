"""Objective ``mse``: squared error of a real-valued score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.models.heads import Linear, ridge
from textlabel.objective import OverRows
from textlabel.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch

NAME = "mse"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"score"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """Squared error has no options."""


def fit_linear(
    features: FloatArray, targets: FloatArray, classes: int, strengths: Sequence[float], options: Options
) -> list[Linear]:
    """Return ridge heads, one a strength, with an unpenalized intercept."""
    return ridge(features, targets, strengths)


class Objective(OverRows):
    """Mean squared error over the labeled rows of a batch."""

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the global batch."""
        index = batch.index["labeled"]
        values = self.context.output("labeled", index).logits[:, 0]
        errors = values.float() - self.context.targets("labeled", index)
        loss: Tensor = errors.square().sum() / batch.total["labeled"]
        return loss
