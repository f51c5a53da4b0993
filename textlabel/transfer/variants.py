"""The ways to a model of the target that a transfer report lays side by side, each fitted and judged."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.recipe import Recipe
from textlabel.trust.label_shift import Refused
from textlabel.types import IntArray

if TYPE_CHECKING:
    from pathlib import Path

    from textlabel.engine.shared_features import SharedFeatures
    from textlabel.transfer.corpora import Corpora, Gold, Rows
    from textlabel.trust.estimates import Estimate
    from textlabel.trust.label_shift import LabelShift

log = logging.getLogger("textlabel")

SOURCE_ONLY, NO_TRANSFER, TARGET_ONLY = "source only", "no transfer", "target only"
#: of the rows of the target alone, each judged by a model of the other folds
FOLDS = 5
#: recipes of the variants that are always there: a frozen backbone, and none
FROZEN, WITHOUT = "head", "tfidf"

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Variant:
    """One way to a model, and what is known of it.

    Parameters
    ----------
    name : of the way.
    learned_from : what it learned from, in words.
    on_source : share of right labels on rows of the source that it did not train on; None: not measured.
    estimate : of the share of right labels on the target, without labels; None: there is none.
    right, accepted : (n,) of the gold rows, whether the label is right, and accepted; None: no gold rows.
    seconds : that it took to fit and to judge.
    note : what there is to know of it, in words.
    """

    name: str
    learned_from: str
    on_source: float | None = None
    estimate: Estimate | None = None
    right: Flags | None = None
    accepted: Flags | None = None
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Maker:
    """Fits labelers that are the same in all but recipe and rows, and share features.

    Parameters
    ----------
    corpora : what they learn from and are judged by.
    backbone, budget, seed : as `Labeler`.
    features : what the labelers share.
    models : labelers by the name of their variant.
    """

    corpora: Corpora
    backbone: str | Path
    budget: str | float
    seed: int
    features: SharedFeatures
    models: dict[str, Labeler] = field(default_factory=dict)

    def labeler(self, recipe: str | Recipe, rows: Rows, unlabeled: Rows | None = None) -> Labeler:
        """Return a labeler that was fitted on rows."""
        plan = Recipe.load(recipe)
        # a recipe without a backbone would warn of one that was named for the others
        backbone = self.backbone if plan.features == "backbone" else DEFAULT_BACKBONE
        made = Labeler(backbone, plan, seed=self.seed, budget=self.budget, cache=self.features)
        return made.fit(rows, unlabeled)

    def judged(
        self, labeler: Labeler, variant: Variant, shift: LabelShift | Refused | None = None
    ) -> Variant:
        """Return a variant with what is known of its labeler.

        Parameters
        ----------
        shift : by which its probabilities are corrected; then there are numbers of gold rows alone.
        """
        source = labeler.bundle.source
        if source is not None and shift is None:
            estimate = labeler.estimate(labeler.predict(self.corpora.target))
            variant = replace(variant, on_source=source.accuracy, estimate=estimate)
        if self.corpora.gold is not None:
            gold = self.corpora.gold
            right, accepted = answers(labeler, gold.rows, gold.labels, shift)
            variant = replace(variant, right=right, accepted=accepted)
        return variant

    def source_only(self) -> Variant:
        """Return the frozen backbone with a head of the source alone."""
        return self._from_source(SOURCE_ONLY, FROZEN, None, "frozen backbone, source's labels")

    def no_transfer(self) -> Variant:
        """Return TF-IDF of the source: nothing that was learned before, and nothing of the target."""
        return self._from_source(NO_TRANSFER, WITHOUT, None, "TF-IDF, source's labels")

    def adapted(self, recipe: str) -> Variant:
        """Return a recipe that reads the target's texts."""
        words = "source's labels, target's texts"
        if not Recipe.load(recipe).source_free:
            return self._from_source(recipe, recipe, self.corpora.target, words)
        log.info("transfer: %s", recipe)
        start = time.monotonic()
        labeler = self.models[SOURCE_ONLY].adapt(self.corpora.target, recipe, seed=self.seed)
        self.models[recipe] = labeler
        variant = Variant(recipe, "source only's model, target's texts", note="not calibrated")
        return replace(self.judged(labeler, variant), seconds=time.monotonic() - start)

    def of_shares(self, base: str, class_shares: Any) -> Variant:
        """Return a variant that is there already, corrected for the class shares that somebody states."""
        start, labeler = time.monotonic(), self.models[base]
        shift = labeler.stated_shares(labeler.predict(self.corpora.target), class_shares)
        note = f"not corrected: {shift}" if isinstance(shift, Refused) else ""
        variant = Variant("class shares stated", f"as {base}, and the target's class shares", note=note)
        return replace(self.judged(labeler, variant, shift), seconds=time.monotonic() - start)

    def target_only(self) -> Variant:
        """Return a frozen backbone with a head of the gold rows alone, judged by folds of them."""
        assert self.corpora.gold is not None
        log.info("transfer: %s", TARGET_ONLY)
        start = time.monotonic()
        variant = Variant(TARGET_ONLY, "frozen backbone, gold labels of other folds")
        try:
            right, accepted = self._by_folds(self.corpora.gold)
        except CorpusError as error:
            return replace(variant, note=f"not fitted: {error}")
        return replace(variant, right=right, accepted=accepted, seconds=time.monotonic() - start)

    def _from_source(self, name: str, recipe: str, unlabeled: Rows | None, words: str) -> Variant:
        log.info("transfer: %s", name)
        start = time.monotonic()
        labeler = self.models[name] = self.labeler(recipe, self.corpora.source, unlabeled)
        return replace(self.judged(labeler, Variant(name, words)), seconds=time.monotonic() - start)

    def _by_folds(self, gold: Gold) -> tuple[Flags, Flags]:
        """Return what models of the other folds say of each gold row; equal texts are in one fold."""
        number = self._folds(gold)
        right, accepted = np.zeros(len(number), np.bool_), np.zeros(len(number), np.bool_)
        for fold in range(number.max() + 1):
            held, seen = np.flatnonzero(number == fold), np.flatnonzero(number != fold)
            labeler = self.labeler(FROZEN, [gold.rows[i] for i in seen])
            rows = [gold.rows[i] for i in held]
            right[held], accepted[held] = answers(labeler, rows, gold.labels[held])
        return right, accepted

    def _folds(self, gold: Gold) -> IntArray:
        from textlabel.corpus.dedup import groups
        from textlabel.corpus.split import folds

        same = groups([row["text"] for row in gold.rows])
        return folds(list(gold.labels), same, min(FOLDS, len(set(same.tolist()))), self.seed)


def answers(
    labeler: Labeler,
    rows: Rows,
    labels: npt.NDArray[np.str_],
    shift: LabelShift | Refused | None = None,
) -> tuple[Flags, Flags]:
    """Return whether a labeler is right about each row (n,), and whether it accepts its own label."""
    texts = [{"id": row["id"], "text": row["text"]} for row in rows]
    said = labeler.annotate(texts, correct_label_shift=False if shift is None else shift)
    names = np.array(said.features["label"].names)[said["label"][:]]
    return names == labels, np.array(said["decision"][:]) == "accepted"
