"""Which rows calibrate a model, and which wishes about calibration cannot be had."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from textlabel import registry
from textlabel.corpus.dedup import groups as duplicates
from textlabel.engine.run import Task
from textlabel.engine.solvers import solver
from textlabel.errors import RecipeError
from textlabel.recipe import Recipe, options_of
from textlabel.trust import multilabel
from textlabel.types import IntArray

log = logging.getLogger("textlabel")

#: from this many labels in the rarest class, a fifth of the rows is held out for calibration
HOLDOUT_FROM = 50
HOLDOUT_SHARE = 0.2
#: folds of a recipe that reads n-grams, one of which costs next to nothing
LEXICAL_FOLDS = 5


@dataclass(frozen=True)
class Calibration:
    """Which rows calibrate: "none", "holdout", "out-of-fold" (solved heads) or "folds" of whole runs."""

    mode: str
    folds: int = 0

    @classmethod
    def plan(cls, text: str, recipe: Recipe, task: Task) -> Calibration:
        """Return the plan for ``auto``, ``holdout``, ``folds=K`` or ``none``.

        A recipe of one solved head has its out-of-fold logits for nothing.

        Raises
        ------
        RecipeError : none of these.
        """
        folds = int(text[6:]) if text.startswith("folds=") and text[6:].isdigit() else 0
        if text not in ("auto", "holdout", "none") and folds < 2:
            raise RecipeError(f"calibration = {text!r}: expected auto, holdout, folds=K with K >= 2, or none")
        if text in ("none", "holdout"):
            return cls(text)
        if recipe.features == "ngrams":
            return cls("folds", folds or min(LEXICAL_FOLDS, max(len(set(duplicates(task.texts))), 2)))
        if len(recipe.stages) == 1 and solver(recipe.stages[0]):
            return cls("out-of-fold", folds or int(options_of("tune", recipe.stages[0].tune).folds))
        if folds:
            return cls("folds", folds)
        counts = rows_per_class(task)
        rarest = int(counts.min()) if len(counts) else len(task.targets)
        return cls("holdout") if rarest >= HOLDOUT_FROM else cls("folds", 3)

    def announce(self, rows: int) -> None:
        """Tell what calibrating costs, where it costs something."""
        if self.mode == "holdout":
            log.info("calibration: %d of %d rows are held out of training", round(rows * HOLDOUT_SHARE), rows)
        elif self.mode == "folds":
            log.info("calibration: %d extra training runs (folds=%d)", self.folds, self.folds)


def check_calibrator(name: str, plan: Calibration, task: Task) -> None:
    """Raise a `RecipeError` where this calibrator cannot be had, before hours of work."""
    if name == "auto":
        return
    registry.load("calibrator", name)  # an unknown one fails here, not after hours of training
    if task.schema.kind == "score":
        raise RecipeError(f"calibrator = {name!r}: scores have no confidence to calibrate; leave it out")
    if task.schema.kind == "multi":
        raise RecipeError(
            f"calibrator = {name!r}: where rows may carry several classes, each has a calibrator of its own, "
            "which is chosen; leave it out"
        )
    if plan.mode == "none" and name != "none":
        raise RecipeError(
            f"calibrator = {name!r} learns from rows that calibration = 'none' does not give; "
            "leave one of the two out"
        )


def check_threshold(name: str, plan: Calibration, task: Task) -> None:
    """Raise a `RecipeError` where thresholds cannot be chosen so, before hours of work."""
    multilabel.check_threshold(name)
    if name == "half":
        return
    if task.schema.kind != "multi":
        raise RecipeError(
            f"threshold = {name!r} is for rows that may carry several classes, and these are "
            f"{task.schema.kind} labels; leave it out"
        )
    if plan.mode == "none":
        raise RecipeError(
            f"threshold = {name!r} is chosen on rows that calibration = 'none' does not give; "
            "leave one of the two out"
        )


def rows_per_class(task: Task) -> IntArray:
    """Return how many rows each class has (k,); nothing for scores."""
    if task.schema.kind == "score":
        return np.zeros(0, np.int64)
    of_one = task.schema.kind == "single"
    return np.asarray(np.bincount(task.targets) if of_one else task.targets.sum(axis=0))
