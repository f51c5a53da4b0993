"""Maps of labeled rows, and how far off such a map other labeled rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from textlabel import registry
from textlabel.engine.run import Run
from textlabel.errors import RecipeError
from textlabel.models.classifier import Classifier
from textlabel.trust.moments import Float32
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map
from textlabel.types import FloatArray, IntArray, LabelKind

#: parts of the rows that are left out in turn, where the body learned nothing and a map costs little:
#: the more, the nearer are false alarms to the stated rate
MAP_FOLDS = 10


class CrossFitted(NamedTuple):
    """Of all labeled rows, each on a map that lacks its fold: off-the-map scores, distances from the bulk."""

    scores: Float32
    distances: Float32


@dataclass(frozen=True)
class ScopePlan:
    """How texts off the map are told: by which score, and whether features of training rows are kept."""

    off_map: str = DEFAULT_OFF_MAP
    keep_reference: bool = False

    def check(self, kind: LabelKind) -> None:
        """Raise a `RecipeError` where the score cannot be had, before hours of work."""
        needs = registry.load("off_map", self.off_map).NEEDS
        if "reference" in needs and not self.keep_reference:
            raise RecipeError(
                f"off_map = {self.off_map!r} compares with the features of training rows: keep them with the "
                "model (--keep-reference), or choose a score of class moments"
            )
        if "logits" in needs and kind != "single":
            raise RecipeError(
                f"off_map = {self.off_map!r} reads logits of classes of which a row has one, and these "
                f"labels are of kind {kind!r}: choose a score of class moments"
            )

    def map(self, run: Run, classifier: Classifier, index: IntArray) -> Map:
        """Return the map of labeled rows ``index``."""
        one_of, outputs = run.task.schema.kind == "single", run.task.schema.outputs
        classes = run.task.targets[index] if one_of else np.zeros(len(index), np.int64)
        features = run.features(classifier, index)
        width = features.shape[1] // classifier.info.layers  # of the last layer, which comes first
        return Map.draw(features, classes, outputs if one_of else 1, self.keep_reference, width)

    def score(
        self, run: Run, classifier: Classifier, known: Map, index: IntArray, logits: FloatArray
    ) -> Float32:
        """Return the off-the-map scores of labeled rows ``index``, whose logits are given."""
        return known.score(self.off_map, logits, run.features(classifier, index))

    def cross_fit(self, run: Run, classifier: Classifier, logits: FloatArray) -> CrossFitted:
        """Return scores (n,) and distances (n,) of all labeled rows, each on a map that lacks its fold.

        Parameters
        ----------
        classifier : its body learned nothing from the rows.
        logits : (n, k) from heads that did not train on the row.
        """
        scores, distances = np.empty((2, len(logits)), np.float32)
        for others, held in run.folds(min(MAP_FOLDS, len(np.unique(run.groups)))):
            known = self.map(run, classifier, others)
            scores[held] = self.score(run, classifier, known, held, logits[held])
            distances[held] = known.moments.bulk(run.features(classifier, held))
        return CrossFitted(scores, distances)
