"""Objective ``cross_entropy``: single-label classification, with class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.errors import RecipeError
from textlabel.models.heads import SEVERAL, Linear, one_hot, softmax_regression
from textlabel.objective import OverRows, balanced_weights
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch, Context

NAME = "cross_entropy"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """How rows and classes count.

    Parameters
    ----------
    class_weights : "none", or "balanced" (each class counts the same in total). Balancing makes labels
        and probabilities favor rare classes; one temperature does not undo that.
    label_smoothing : share of the target spread over all classes, in [0, 1).
    """

    class_weights: str = "none"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.class_weights not in ("none", "balanced"):
            raise RecipeError(f"class_weights = {self.class_weights!r}; expected 'none' or 'balanced'")
        if not 0 <= self.label_smoothing < 1:
            raise RecipeError(f"label_smoothing = {self.label_smoothing}; expected a share in [0, 1)")


def class_weights(
    targets: IntArray, classes: int, options: Options, row_weights: FloatArray | None = None
) -> FloatArray:
    """Return one weight a class (classes,), with mean 1 over the given rows, as ``row_weights`` count them.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), 2, Options("balanced")).round(3).tolist()
    [0.667, 2.0]
    """
    if options.class_weights == "none":
        return np.ones(classes)
    return balanced_weights(targets, classes, row_weights)


def fit_linear(
    features: FloatArray,
    targets: IntArray | FloatArray,
    classes: int,
    strengths: Sequence[float],
    options: Options,
    mixing: FloatArray | None = None,
    row_weights: FloatArray | None = None,
) -> Iterator[Linear]:
    """Yield softmax heads, one a ridge strength, that minimize the weighted, smoothed cross-entropy.

    Parameters
    ----------
    targets : (n,) classes, or (n, k) target probabilities; a row then counts as its likeliest class does. A
        row of zeros and several ones is a set of candidates, which is not smoothed and counts as they do on
        average.
    mixing : (k, m), how classes share weights (`textlabel.models.structure`); None: they do not. Objectives
        that train by gradient know nothing of it: they start from such a head, if a stage before solved it.
    row_weights : (n,) as how many rows each counts; None: as one.
    """
    soft = one_hot(targets, classes)
    sums = soft.sum(axis=1)
    several = sums > SEVERAL
    hard = soft.argmax(axis=1)
    counts = None if row_weights is None else row_weights[~several]
    by_class = class_weights(hard[~several], classes, options, counts)
    weights = np.where(several, soft @ by_class / np.maximum(sums, 1), by_class[hard])
    smooth = soft * (1 - options.label_smoothing) + options.label_smoothing / classes
    soft = np.where(several[:, None], soft, smooth)
    return softmax_regression(features, soft, weights, strengths, mixing=mixing, row_weights=row_weights)


class Objective(OverRows):
    """Mean weighted cross-entropy over the labeled rows of a batch."""

    def __init__(self, options: Options, context: Context) -> None:
        import torch

        super().__init__(options, context)
        targets = np.asarray(context.rows["labeled"].targets)
        weights = class_weights(targets, context.schema.outputs, options)
        self.row_weights = weights[targets]
        self.class_weights = torch.tensor(weights, dtype=torch.float32, device=context.device)

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the global batch.

        The mean is over rows, not over weights: a batch of rare rows counts for more, as it should.
        """
        from torch.nn.functional import cross_entropy

        index = batch.index["labeled"]
        logits = self.context.output("labeled", index).logits
        targets = self.context.targets("labeled", index)
        losses = cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=self.options.label_smoothing
        )
        return (losses * self.class_weights[targets]).sum() / batch.total["labeled"]
