"""Objective ``ridge``: least squares of one-hot classes, in closed form (tune ``head`` only).

What such a head would say of a row that it had not learned from follows from one fit (`leave_one_out`). So
the penalty is chosen without folds, and one temperature is fitted that makes logits of outputs that are no
probabilities. Leaving out a single row says nothing where another has the same text: the head has learned the
answer all the same, and the weakest penalty looks best. Rows of equal features are therefore left out
together. Of texts that are only nearly alike the head remains too sure; what calibrates it is out of fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textlabel.models.heads import Linear, best_scale, leave_one_out, one_hot, ridge
from textlabel.types import FloatArray, IntArray

NAME = "ridge"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """Ridge has no options."""


def fit_linear(
    features: FloatArray,
    targets: IntArray | FloatArray,
    classes: int,
    strengths: Sequence[float],
    options: Options,
) -> list[Linear]:
    """Return heads, one a penalty, each scaled by the temperature that suits rows it did not learn from.

    Parameters
    ----------
    targets : (n,) classes, or (n, k) target probabilities.
    """
    heads = ridge(features, one_hot(targets, classes), strengths)
    scales = (scale for scale, _ in _left_out(features, targets, classes, strengths))
    return [Linear(s * head.weight, s * head.bias) for head, s in zip(heads, scales, strict=True)]


def left_out_losses(
    features: FloatArray, targets: IntArray | FloatArray, classes: int, strengths: Sequence[float]
) -> list[float]:
    """Return the mean loss (nats) of rows that a head did not learn from, one a penalty."""
    return [loss for _, loss in _left_out(features, targets, classes, strengths)]


def _left_out(
    features: FloatArray, targets: IntArray | FloatArray, classes: int, strengths: Sequence[float]
) -> list[tuple[float, float]]:
    soft = one_hot(targets, classes)
    return [best_scale(outputs, soft) for outputs in leave_one_out(features, soft, strengths)]
