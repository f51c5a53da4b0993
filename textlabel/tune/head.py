"""Tune ``head``: only the linear head; the body is frozen, so its features are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError, nearest

if TYPE_CHECKING:
    from textlabel.models.classifier import Classifier

NAME = "head"
PARTS = frozenset({"head"})
ENSEMBLES = ("none", "folds")


@dataclass(frozen=True)
class Options:
    """How the linear head is fitted on cached features.

    Parameters
    ----------
    l2 : strength of the ridge penalty relative to a unit-variance feature; 0: by cross-validation.
    folds : folds of that cross-validation, which also give the out-of-fold logits for calibration.
    name_weights : weights, in rows a class, at which the names of the classes count as rows of theirs
        (`LabelSchema.descriptions`); the best by cross-validation is taken.
    spread : how far, in [0, 1), what the head says spreads among like texts of the unlabeled corpus, which
        the stage then reads (``rows = "both"``): the first is taken unless cross-validation speaks for
        another by more than twice its standard error. Empty: no unlabeled text is read.
    ensemble : "folds" takes the mean of the heads that each lack a fold, which is a linear head again, in
        place of the head of all rows ("none"). What calibrates it stays the logits of each row by the one
        head that did not train on it: the loss of a mean is at most the mean of the losses, so confidence is
        if anything too low. Off, as it gains about nothing: -0.6 to +0.3 points of accuracy on six sets.
    """

    l2: float = 0.0
    folds: int = 5
    name_weights: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = ()
    ensemble: str = "none"

    def __post_init__(self) -> None:
        if self.l2 < 0 or self.folds < 2:
            raise RecipeError(f"head: l2 = {self.l2}, folds = {self.folds}; expected l2 >= 0 and folds >= 2")
        weights = self.name_weights
        if not weights or any(weight < 0 or weight != round(weight) for weight in weights):
            raise RecipeError(f"head: name_weights = {list(weights)}; expected rows a class, such as [0, 3]")
        if not all(0 <= alpha < 1 for alpha in self.spread):
            raise RecipeError(f"head: spread = {list(self.spread)}; expected shares in [0, 1): [0.5, 0]")
        if self.ensemble not in ENSEMBLES:
            raise RecipeError(
                f"head: ensemble = {self.ensemble!r} is unknown: {nearest(self.ensemble, ENSEMBLES)}"
            )


def roles(options: Options) -> frozenset[str]:
    """Return the roles of rows that the tune itself reads."""
    return frozenset({"unlabeled"} if options.spread else ())


def apply(classifier: Classifier, options: Options) -> None:
    """Leave only the head trainable."""
    classifier.requires_grad_(False)
    classifier.head.requires_grad_(True)
