"""Tune ``head``: only the linear head; the body is frozen, so its features are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError, nearest
from textlabel.models.alignment import ALIGNMENTS
from textlabel.models.self_training import SELECTIONS

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
    align : "coral" or "subspace" moves labeled rows to where unlabeled ones lie, which the stage then reads
        (``rows = "both"``), before the head is fitted (`textlabel.models.alignment`); "none": they stay.
        Measured, it is no gain: "coral" loses on 13 of 16 pairs of sentiment corpora with MiniLM.
    align_dims : directions that "subspace" compares.
    self_train : how the head chooses unlabeled rows to learn from what it says of them itself, in rounds:
        "balanced", "prior" or "uncertain" (`textlabel.models.self_training`); "": it does not. The stage then
        reads unlabeled rows (``rows = "both"``). With ``spread`` it does only where a classifier tells these
        rows from the labeled ones.
    rounds : the most rounds of that; fewer where labels settle, or where labeled rows that a round did not
        train on speak against it by more than twice the standard error: the round before is then kept.
    grow, most : share of the unlabeled rows that each round learns from more, and the most of them.
    class_shares : of "prior", the shares of classes among unlabeled rows, "positive=.8,negative=.2", or
        "labeled": those of the labeled rows.
    restart : whether each round labels all rows anew; otherwise a row keeps the label of its first round.
    least_agreement : on which share of the unlabeled rows self-trained heads of halves of the labeled rows
        must agree, or the head stays as it was before; 0: it is kept in any case.
    """

    l2: float = 0.0
    folds: int = 5
    name_weights: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = ()
    ensemble: str = "none"
    align: str = "none"
    align_dims: int = 50
    self_train: str = ""
    rounds: int = 5
    grow: float = 0.2
    most: float = 1.0
    class_shares: str = "labeled"
    restart: bool = True
    least_agreement: float = 0.9

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
        self._check_unlabeled()

    def _check_unlabeled(self) -> None:
        """Raise a `RecipeError` if what is to be learned from unlabeled rows makes no sense."""
        if self.align not in ALIGNMENTS:
            raise RecipeError(f"head: align = {self.align!r}: {nearest(self.align, ALIGNMENTS)}")
        if self.align_dims < 1:
            raise RecipeError(f"head: align_dims = {self.align_dims}; expected 1 or more directions")
        if self.self_train not in SELECTIONS:
            raise RecipeError(
                f"head: self_train = {self.self_train!r}: {nearest(self.self_train, SELECTIONS)}"
            )
        if self.rounds < 1 or not 0 < self.grow <= 1 or not 0 < self.most <= 1:
            raise RecipeError(
                f"head: rounds = {self.rounds}, grow = {self.grow}, most = {self.most}; expected 1 or more "
                "rounds and shares in (0, 1]"
            )
        if not 0 <= self.least_agreement <= 1:
            raise RecipeError(f"head: least_agreement = {self.least_agreement}; expected a share in [0, 1]")
        if self.class_shares != "labeled" and self.self_train != "prior":
            raise RecipeError(
                f"head: class_shares = {self.class_shares!r} is for self_train = 'prior', not "
                f"{self.self_train!r}: leave one of the two out"
            )

    @property
    def from_unlabeled(self) -> tuple[str, ...]:
        """Ways in which the head learns from unlabeled texts, by their keys."""
        ways = {"spread": self.spread, "align": self.align != "none", "self_train": self.self_train}
        return tuple(name for name, taken in ways.items() if taken)


def roles(options: Options) -> frozenset[str]:
    """Return the roles of rows that the tune itself reads."""
    return frozenset({"unlabeled"} if options.from_unlabeled else ())


def apply(classifier: Classifier, options: Options) -> None:
    """Leave only the head trainable."""
    classifier.requires_grad_(False)
    classifier.head.requires_grad_(True)
