"""Objective ``binary_cross_entropy``: yes or no for each class, so that a row may carry several or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.errors import RecipeError
from textlabel.models.heads import Linear, logistic_regressions
from textlabel.objective import OverRows
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch, Context

NAME = "binary_cross_entropy"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"multi"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """How the answers of a class count.

    Parameters
    ----------
    positive_weights : "none", or "balanced" (of each class, yes and no count the same in total). Balancing
        makes probabilities favor rare classes, which calibration undoes only where a class has enough rows.
    """

    positive_weights: str = "none"

    def __post_init__(self) -> None:
        if self.positive_weights not in ("none", "balanced"):
            raise RecipeError(f"positive_weights = {self.positive_weights!r}; expected 'none' or 'balanced'")


def answer_weights(answers: IntArray, options: Options) -> FloatArray:
    """Return the weights (2, k) of no and yes of each class; their mean over the given rows is 1.

    Examples
    --------
    >>> answer_weights(np.array([[0], [0], [0], [1]]), Options("balanced")).round(3).tolist()
    [[0.667], [2.0]]
    """
    yes = answers.sum(axis=0)
    counts = np.stack([len(answers) - yes, yes])
    if options.positive_weights == "none":
        return np.ones(counts.shape)
    return np.where((counts > 0).all(axis=0), len(answers) / (2 * np.maximum(counts, 1)), 1.0)


def fit_linear(
    features: FloatArray, targets: IntArray, classes: int, strengths: Sequence[float], options: Options
) -> list[Linear]:
    """Return heads of independent logistic regressions, one a ridge strength, which all classes share.

    Parameters
    ----------
    targets : (n, k) 0 and 1, the classes that a row carries.
    """
    weights = answer_weights(targets, options)[targets, np.arange(classes)]
    return logistic_regressions(features, targets.astype(np.float64), weights, strengths)


class Objective(OverRows):
    """Mean binary cross-entropy over the labeled rows of a batch and over classes."""

    def __init__(self, options: Options, context: Context) -> None:
        import torch

        super().__init__(options, context)
        weights = answer_weights(np.asarray(context.rows["labeled"].targets), options)
        self.no, self.yes = torch.tensor(weights, dtype=torch.float32, device=context.device)

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the global batch."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        index = batch.index["labeled"]
        answers = self.context.targets("labeled", index)
        losses = binary_cross_entropy_with_logits(
            self.context.output("labeled", index).logits.float(),
            answers,
            self.no + (self.yes - self.no) * answers,
            reduction="none",
        )
        return losses.mean(dim=1).sum() / batch.total["labeled"]
