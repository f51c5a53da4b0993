"""Rows whose label is likely wrong, found by heads that did not train on them, before anything trains."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.corpus.split import splittable
from textlabel.engine.head import fit_head
from textlabel.engine.process import of_main_process
from textlabel.errors import RecipeError, nearest
from textlabel.recipe import Stage
from textlabel.trust.calibration import softmax
from textlabel.trust.label_errors import (
    LabelErrors,
    find_label_errors,
    require_cleanlab,
    soft_targets,
)
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

#: what may be done with labels that are likely wrong
NOISY_LABELS = ("keep", "prune", "soft")
#: what judges labels
HEAD = Stage.of("head", "cross_entropy")


def check_noisy_labels(mode: str, kind: str, solved: bool) -> None:
    """Raise a `RecipeError` where labels that are likely wrong cannot be dealt with so.

    Parameters
    ----------
    kind : of the labels.
    solved : whether all stages of the recipe solve their head, which alone take probabilities as labels.
    """
    if mode not in NOISY_LABELS:
        raise RecipeError(f"noisy_labels = {mode!r} is unknown: {nearest(mode, NOISY_LABELS)}")
    if mode == "keep":
        return
    if kind != "single":
        raise RecipeError(
            f"noisy_labels = {mode!r} is about classes, and these are {kind} labels: leave it out"
        )
    if mode == "soft" and not solved:
        raise RecipeError(
            "noisy_labels = 'soft' makes probabilities of labels, which only the head on fixed features "
            "learns from: use recipe 'head', or noisy_labels = 'prune'"
        )
    require_cleanlab(f"noisy_labels = {mode!r}")


def out_of_fold_probabilities(
    features: FloatArray, labels: IntArray, groups: IntArray, classes: int, seed: int, stage: Stage = HEAD
) -> FloatArray:
    """Return probabilities (n, k) by heads that did not train on the row.

    A row of a class with a single text cannot be judged by a head that knows the class: it passes for right.

    Parameters
    ----------
    features : (n, d).
    labels, groups : (n,) class numbers, and equal numbers for equal texts.
    stage : of a solved head.
    """
    known = np.eye(classes)[labels]
    judged = splittable(labels, groups)
    if not judged.any():
        return known
    fitted = fit_head(features, labels, groups, classes, stage, seed)
    return np.where(judged[:, None], softmax(fitted.out_of_fold), known)


@dataclass(frozen=True)
class Cleaner:
    """Finds likely wrong labels among any of some rows; of the others it takes only the ridge strength.

    Parameters
    ----------
    features, targets, groups : (n, d) and (n,) of the rows.
    classes : number of classes.
    mode : "prune" or "soft".
    """

    features: FloatArray
    targets: IntArray
    groups: IntArray
    classes: int
    mode: str
    seed: int
    #: what was found already: a head of each strength and kind asks for the same parts of the rows
    known: dict[bytes, tuple[LabelErrors, FloatArray]] = field(default_factory=dict)

    def __call__(self, rows: IntArray) -> tuple[IntArray, npt.NDArray[Any]]:
        """Return the rows to train on, and what each is to be: a class, or (m, k) target probabilities."""
        errors, probabilities = self.errors(rows)
        if self.mode == "soft":
            return rows, soft_targets(self.targets[rows], probabilities, errors)
        kept = rows[~errors.found]
        return kept, self.targets[kept]

    @cached_property
    def stage(self) -> Stage:
        """A head of the strength that suits all rows: to choose it for each part of them takes far longer."""
        l2 = fit_head(self.features, self.targets, self.groups, self.classes, HEAD, self.seed).l2
        return Stage.of({"name": "head", "l2": l2}, "cross_entropy")

    def errors(self, rows: IntArray) -> tuple[LabelErrors, FloatArray]:
        """Return what is likely wrong among ``rows``, the same in all processes, and their probabilities."""
        if (key := rows.tobytes()) not in self.known:
            self.known[key] = self._errors(rows)
        return self.known[key]

    def _errors(self, rows: IntArray) -> tuple[LabelErrors, FloatArray]:
        labels = self.targets[rows]
        probabilities = out_of_fold_probabilities(
            self.features[rows], labels, self.groups[rows], self.classes, self.seed, self.stage
        )
        probabilities = of_main_process(probabilities)
        return find_label_errors(labels, probabilities), probabilities
