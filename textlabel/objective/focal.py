"""Objective ``focal``: cross-entropy in which rows that are right already count little.

Probabilities trained so are less sure than they should be, which calibration mends (Lin et al. 2017, arXiv
1708.02002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.errors import RecipeError
from textlabel.objective import OverRows, balanced_weights

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch, Context

NAME = "focal"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """How rows and classes count.

    Parameters
    ----------
    gamma : a row whose class has probability p weighs (1 - p) ** gamma; 0 is cross-entropy.
    class_weights : "none", or "balanced" (each class counts the same in total).
    """

    gamma: float = 2.0
    class_weights: str = "none"

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise RecipeError(f"focal: gamma = {self.gamma}; expected 0 or more")
        if self.class_weights not in ("none", "balanced"):
            raise RecipeError(f"focal: class_weights = {self.class_weights!r}; expected 'none' or 'balanced'")


class Objective(OverRows):
    """Mean focal loss over the labeled rows of a batch."""

    def __init__(self, options: Options, context: Context) -> None:
        import torch

        super().__init__(options, context)
        classes = context.schema.outputs
        targets = np.asarray(context.rows["labeled"].targets)
        even = options.class_weights == "none"
        weights = np.ones(classes) if even else balanced_weights(targets, classes)
        self.class_weights = torch.tensor(weights, dtype=torch.float32, device=context.device)

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the global batch."""
        index = batch.index["labeled"]
        logits = self.context.output("labeled", index).logits
        targets = self.context.targets("labeled", index)
        losses = focal(logits.float(), targets, self.options.gamma)
        return (losses * self.class_weights[targets]).sum() / batch.total["labeled"]


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Return the loss (b,) of logits (b, k) for classes ``targets`` (b,)."""
    from torch.nn.functional import cross_entropy

    surprise = cross_entropy(logits, targets, reduction="none")
    # 1 - p; a row that is surely right must not have the infinite slope of a root at 0
    wrong = (-(-surprise).expm1()).clamp(min=1e-12)
    loss: Tensor = wrong**gamma * surprise
    return loss
