"""The step that labels a corpus by rules, class names and tuned models together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.labeler import Labeler
from textlabel.rule_steps.label import LabelByRules
from textlabel.rule_steps.votes import NAMES, Voted
from textlabel.rules.fusion import Fusion, Sources, unseen_fusion
from textlabel.types import IntArray, LabelSchema, Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textlabel.rules.models import Floats

#: what the sources beside the label model and the names of the classes are called
TUNED, FUSED = "tuned head", "all together"


@dataclass(frozen=True)
class FuseRules(LabelByRules):
    """Label a corpus by rules, by the names of the classes and by a head tuned on gold rows, all together.

    Parameters
    ----------
    models : folders of saved models that speak, too; none may have learned from the gold rows, or it is
        trusted too much.
    seed : decides folds.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    """

    models: tuple[str, ...] = ()
    seed: int = 0
    cache: bool = True

    def sources(self, voted: Voted) -> Sources:
        """Return what each source says; the tuned head speaks of a gold row by folds that lack it.

        Raises
        ------
        CorpusError : a class has fewer than two gold rows.
        """
        from textlabel.corpus.check import require_rows_per_class
        from textlabel.corpus.dedup import groups

        rules = super().sources(voted)
        n, known = len(voted.rows), np.flatnonzero(voted.gold >= 0)
        schema, labels = LabelSchema("single", voted.classes), voted.gold[known]
        same = groups([voted.texts[i] for i in known])
        require_rows_per_class(labels, same, schema)
        others = {
            NAMES: self._by_names(voted),
            **{folder: _by_model(folder, voted) for folder in self.models},
        }
        tuned, unseen = self._tuned(voted, known, same)
        return Sources(
            (*rules.names, TUNED, *others),
            np.stack([rules.unseen[0], unseen, *(p[known] for p in others.values())]),
            np.stack([rules.said[0], tuned[:n], *(p[:n] for p in others.values())]),
        )

    def compared(self, sources: Sources, found: Fusion, labels: IntArray) -> Summary:
        """Return how right each source is on gold rows that it has not seen, and all together, by folds."""
        rows = list(zip(sources.names, found.factors.tolist(), sources.unseen, strict=True))
        told = [{"source": name, "factor": round(v, 3), **_scores(p, labels)} for name, v, p in rows]
        if found.calibrated:
            together = unseen_fusion(sources.unseen, labels, seed=self.seed)
            told.append({"source": FUSED, "factor": None, **_scores(together, labels)})
        return {"sources": told}

    def _tuned(self, voted: Voted, known: IntArray, same: IntArray) -> tuple[Floats, Floats]:
        """Return what a head of the gold rows says of all texts, and of gold rows by heads without them."""
        from textlabel.engine.feature_cache import cache_folder
        from textlabel.engine.head import fit_head
        from textlabel.engine.predict import predict
        from textlabel.models.backbone import load_backbone
        from textlabel.models.classifier import Classifier
        from textlabel.recipe import Stage
        from textlabel.trust.calibration import softmax

        schema = LabelSchema("single", voted.classes)
        classifier = Classifier(load_backbone(self.backbone), schema).eval()
        features = predict(classifier, voted.texts, cache=cache_folder(self.cache))[1].astype(np.float64)
        stage = Stage.of("head", "cross_entropy")
        fit = fit_head(features[known], voted.gold[known], same, schema.outputs, stage, self.seed)
        return softmax(fit.head(features)), softmax(fit.out_of_fold)

    def _by_names(self, voted: Voted) -> Floats:
        rows = [{"text": text} for text in voted.texts]
        labeler = Labeler(self.backbone, cache=self.cache).fit(None, rows, classes=voted.classes)
        return _probabilities(labeler, voted.texts, voted.classes)


def _by_model(folder: str, voted: Voted) -> Floats:
    return _probabilities(Labeler.from_pretrained(folder), voted.texts, voted.classes)


def _probabilities(labeler: Labeler, texts: Sequence[str], classes: Sequence[str]) -> Floats:
    """Return what a model says (n, k), its columns in the order of ``classes``."""
    from textlabel.errors import RecipeError
    from textlabel.trust.calibration import softmax

    names = list(labeler.schema.names)
    if sorted(names) != sorted(classes):
        raise RecipeError(f"a model gives the classes {names}; expected those of the rules, {list(classes)}")
    logits = labeler.predict([{"text": text} for text in texts]).logits.astype(np.float64)
    return softmax(logits)[:, [names.index(name) for name in classes]]


def _scores(p: Floats, labels: IntArray) -> dict[str, float]:
    likely = np.maximum(p[np.arange(len(labels)), labels], 1e-12)
    right = float((p.argmax(axis=1) == labels).mean())
    return {"accuracy": round(right, 4), "nats": round(float(-np.log(likely).mean()), 4)}
