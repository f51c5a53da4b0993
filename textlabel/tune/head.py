"""Tune ``head``: only the linear head; the body is frozen, so its features are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "head"
PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """How the linear head is fitted on cached features.

    Parameters
    ----------
    l2 : strength of the ridge penalty relative to a unit-variance feature; 0: by cross-validation.
    folds : folds of that cross-validation, which also give the out-of-fold logits for calibration.
    """

    l2: float = 0.0
    folds: int = 5

    def __post_init__(self) -> None:
        if self.l2 < 0 or self.folds < 2:
            raise RecipeError(f"head: l2 = {self.l2}, folds = {self.folds}; expected l2 >= 0 and folds >= 2")


def apply(classifier: Classifier, options: Options) -> None:
    """Leave only the head trainable."""
    classifier.requires_grad_(False)
    classifier.head.requires_grad_(True)
