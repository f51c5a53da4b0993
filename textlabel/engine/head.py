"""The head on cached features, linear as a rule: strength by cross-validation, logits out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textlabel.engine.fitter import FREE, Aside, Clean, Fitter, Mixings
from textlabel.engine.self_training import SelfTrained, SelfTraining
from textlabel.engine.solvers import STRENGTHS, Head
from textlabel.errors import RecipeError
from textlabel.models.alignment import Alignment, aligned
from textlabel.models.heads import Linear
from textlabel.recipe import Stage, options_of
from textlabel.types import FloatArray, IntArray


class HeadFit(NamedTuple):
    """A fitted head, members that each lack a fold, and each row's logits (n, k) by the member without it.

    Where the tune asks for an ensemble, the head is the mean of the members.

    ``l2``, ``name_weight`` and ``spread`` are what cross-validation chose (`textlabel.tune.head.Options`), as
    is ``share`` (`textlabel.models.structure.mixings`).
    """

    head: Head
    out_of_fold: FloatArray
    l2: float
    members: list[Head]
    name_weight: float = 0.0
    spread: float = 0.0
    share: float = 0.0
    #: what became of self-training; None: nobody asked for it
    self_trained: SelfTrained | None = None


def fit_head(
    features: FloatArray,
    targets: IntArray | FloatArray,
    groups: IntArray,
    classes: int,
    stage: Stage,
    seed: int,
    clean: Clean | None = None,
    aside: Aside = Aside(),  # noqa: B008 - immutable
    mixings: Mixings = FREE,
    row_weights: FloatArray | None = None,
) -> HeadFit:
    """Return the head of a solvable stage, fitted on all rows, with its out-of-fold logits.

    Folds are fewer where there are fewer distinct texts. Rows of a class with a single text are in none: all
    heads train on them, and their logits are 0.

    Parameters
    ----------
    features : (n, d) pooled features.
    targets : (n,) class indices or scores, or (n, k) 0 and 1.
    groups : (n,) equal where texts are equal; such rows share a fold.
    classes : number of outputs k.
    clean : mends the labels of rows that a head is fitted on, looking at those rows only; the labels that a
        head is judged by stay as they are. None: all are as given.
    aside : what else it may learn from. How much names count, and how far labels spread among unlabeled
        texts, is chosen as the strength is, by rows that the head did not train on.
    mixings : what of `textlabel.models.structure` is tried. The first stands unless those rows speak for
        another by more than twice the standard error.
    row_weights : (n,) with mean 1, as how many rows each counts, also where heads are judged. What is aside
        counts as one row each, a changed copy as its row. None: all count as one.

    Raises
    ------
    RecipeError : the stage has no direct solver, or one that cannot weigh rows or is not linear and shall be
        a mean.
    """
    tune = options_of("tune", stage.tune)
    moved = None
    if tune.align != "none" and aside.unlabeled is not None:
        if min(len(features), len(aside.unlabeled)) < 2:
            raise RecipeError(
                f"align needs 2 labeled rows and 2 unlabeled ones of other texts, got {len(features)} and "
                f"{len(aside.unlabeled)}: leave it out"
            )
        # it reads no label, so that of all rows serves every fold
        moved = aligned(tune.align, features, aside.unlabeled, tune.align_dims)
        features, aside = moved.source(features), _moved(aside, moved)
    fitter = Fitter(features, targets, groups, classes, stage, seed, clean, aside, mixings, row_weights)
    strengths = sorted([tune.l2] if tune.l2 else STRENGTHS, reverse=True)
    weights = tune.name_weights if aside.names is not None else (0.0,)
    kind, l2 = fitter.choose(weights, strengths)
    members: Sequence[Head] = fitter.members(kind, l2)
    head = next(fitter.fit(fitter.everything, kind, [l2]))
    if fitter.tempered and fitter.count:
        head, *members = fitter.scaled([head, *members])
    alpha = 0.0
    if tune.spread and fitter.spreads:
        alpha, head, members = fitter.spread(tune.spread, head, members)
    told = None
    if tune.self_train and aside.unlabeled is not None and (fitter.elsewhere or not tune.spread):
        told, head, members = SelfTraining(fitter, tune, kind, l2, alpha).heads(head, members)
    if tune.ensemble == "folds" and members:
        head = mean_head(members)
    logits = fitter.out_of_fold(fitter.everything, members)
    if moved is not None:
        head, *members = (_folded(moved, one) for one in (head, *members))
    return HeadFit(head, logits, l2, list(members), kind.weight, alpha, kind.share, told)


def _moved(aside: Aside, moved: Alignment) -> Aside:
    """Return what is aside where aligned rows lie: unlabeled rows are the target, all else the source."""
    assert aside.unlabeled is not None

    def there(features: FloatArray | None) -> FloatArray | None:
        return None if features is None else moved.source(features)

    return aside._replace(
        names=there(aside.names),
        copies=there(aside.copies),
        unlabeled=moved.target(aside.unlabeled),
        partial=there(aside.partial),
    )


def _folded(moved: Alignment, head: Head) -> Head:
    """Return the head of untouched features of the target."""
    if isinstance(head, Linear):
        return moved.fold(head)
    if moved.target_map is None:
        return head
    raise RecipeError(
        "align = 'subspace' becomes part of a linear head, and this objective gives another kind: use "
        "align = 'coral', or cross_entropy"
    )


def mean_head(members: Sequence[Head]) -> Linear:
    """Return the linear head whose logits are the mean of the members' logits.

    Raises
    ------
    RecipeError : heads that are not linear, whose mean is no head of their kind.
    """
    linear = [one for one in members if isinstance(one, Linear)]
    if len(linear) < len(members):
        raise RecipeError(
            "ensemble = 'folds' is the mean of linear heads, and those of this objective are not: leave it "
            "out, or use an objective such as cross_entropy"
        )
    weight = np.mean([one.weight for one in linear], axis=0)
    return Linear(weight, np.mean([one.bias for one in linear], axis=0))
