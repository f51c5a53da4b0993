"""A model goes on to texts of another domain, where no row that it learned from can follow it.

What is read is the model and unlabeled texts. The head stays, the body moves (`textlabel.objective.shot`,
`textlabel.objective.tent`). What labeled rows had measured of the model was measured on features that are no
more: calibration, prediction sets, heads of folds, statistics of the source, scores of rows in scope, faster
backends. None of that is kept. The temperature goes, too: on the rows that it was fitted on it says nothing
of this body, and training has made the probabilities surer, which is what they are not known to deserve. So
confidence is the plain softmax, which is what the objectives looked at, and says so.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from textlabel import registry
from textlabel.engine import tracking
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint, rows_digest
from textlabel.engine.feature_cache import weights_sha256
from textlabel.engine.loop import train
from textlabel.engine.predict import predict
from textlabel.engine.process import accelerator, derive_seed
from textlabel.engine.scope import ScopePlan
from textlabel.errors import CorpusError, RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import require_one
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier, Frozen
from textlabel.progress import bar
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.multilabel import SubsetRule
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map, Scope
from textlabel.trust.set_rule import SetPlan
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

#: of the record of the model it started from, what is still true
_KEPT = ("recipe", "seed", "labels", "head")


def adapt_to_texts(
    bundle: Bundle,
    texts: Sequence[str],
    recipe: Recipe,
    seed: int,
    *,
    backend: str = "torch",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Bundle:
    """Return an uncalibrated model that goes on from ``bundle``, which stays as it is, by texts alone.

    The record's ``adapted`` tells of each time that it was done: recipe, seed, hashes of texts and of the
    model before, and how many of the texts each class got before and after.

    Parameters
    ----------
    texts : of the target domain, n.
    checkpoint : folder in which training can be resumed after a kill; None: start over.
    checkpoint_seconds : how often it is written.

    Raises
    ------
    RecipeError : the recipe reads labels, or the model is none that can be adapted.
    CorpusError : fewer texts than classes.
    """
    refuse_model(bundle, recipe)
    names = bundle.classifier.schema.names
    if len(texts) < len(names):
        raise CorpusError(
            f"{len(texts)} unlabeled texts for {len(names)} classes; expected one a class at least, and "
            "better hundreds"
        )
    started_from = {"model": bundle.digest(), "weights": weights_sha256(bundle.classifier)}
    told = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "texts": len(texts),
        "sha256": rows_digest(texts, [None] * len(texts)),
        "started_from": started_from,
    }
    this = accelerator()
    facts = {**told, "processes": this.num_processes, "precision": this.mixed_precision}
    saved = NoCheckpoint() if checkpoint is None else Checkpoint(checkpoint, facts, checkpoint_seconds)
    before = _labels_before(bundle, texts, backend)
    classifier = _trained(bundle.classifier, texts, recipe, seed, saved)
    with bar("encode texts") as update:
        logits, features = predict(classifier, texts, backend=backend, progress=update)
    after = logits.argmax(axis=1)
    labels = {"before": _counts(before, names), "after": _counts(after, names)}
    _warn(bundle, labels)
    told["labels"] = {**labels, "changed": int((before != after).sum())}
    return _bundle(bundle, classifier, features.astype(np.float64), after, told)


def refuse_model(bundle: Bundle, recipe: Recipe) -> None:
    """Raise a `RecipeError` unless a recipe can adapt a model without labels."""
    model = bundle.classifier
    if not recipe.source_free:
        raise RecipeError(
            f"recipe {recipe.name!r} learns from labeled rows, or not from what the head says: expected one "
            "whose stages read unlabeled rows alone under a head that stays, such as 'shot' or 'tent'"
        )
    if model.info.origin == "data":
        raise RecipeError(
            "this model is made of n-grams (recipe 'tfidf'): it has no body that could move; fit one on a "
            "backbone, such as with recipe 'head'"
        )
    require_one(model.info, "adapting moves", "fit a model on one of them, and adapt that")
    if model.info.kind == "static":
        raise RecipeError(
            f"backbone {model.info.public_name!r} is static, a vector a token: it has no layers that could "
            "follow other texts; fit a model on a transformer"
        )
    if isinstance(model.head, Frozen):
        raise RecipeError(
            f"this model has a head of recipe {model.head.name!r}, through which no body can learn: "
            "expected a linear one; fit with recipe 'head', say"
        )
    if bundle.student is not None:
        raise RecipeError(
            "this model has a student, which learned the labels that it gives now (`optimize --cascade`): "
            "expected the model as `textlabel fit` wrote it; adapt that one, and optimize afterwards"
        )
    if model.schema.kind not in recipe.kinds:
        raise RecipeError(
            f"recipe {recipe.name!r} is for {' or '.join(sorted(recipe.kinds))} labels, and this model gives "
            f"{model.schema.kind} labels: there is no such recipe for these"
        )


def _trained(
    start: Classifier, texts: Sequence[str], recipe: Recipe, seed: int, saved: Checkpoint | NoCheckpoint
) -> Classifier:
    """Return a copy of a classifier, trained by a recipe on texts; its head has the very same bits."""
    backbone = Backbone(start.info, start.folder, copy.deepcopy(start.body), start.tokenizer)
    classifier = Classifier(backbone, start.schema)
    classifier.head.load_state_dict(start.head.state_dict())
    classifier.adapters = list(start.adapters)
    classifier.body_changed = start.body_changed
    rows = {"unlabeled": Rows(backbone.encode(texts))}
    for number, stage in enumerate(recipe.stages):
        context = Context(rows, start.schema, classifier, accelerator().device)
        name = f"adapt-{number}"
        with tracking.steps(f"train {stage.tune.name} ({name})", name) as update:
            stage_seed = derive_seed(seed, name)
            train(classifier, stage, context, stage_seed, checkpoint=saved.stage(name), progress=update)
        classifier.merge()
    return classifier.eval()


def _labels_before(bundle: Bundle, texts: Sequence[str], backend: str) -> IntArray:
    """Return the classes (n,) that the model gave to the texts, by its calibrator, which may change them."""
    assert bundle.calibrator is not None
    assert not isinstance(bundle.calibrator, SubsetRule)
    with bar("label texts by the model as it was") as update:
        logits, _ = predict(bundle.classifier, texts, backend=backend, progress=update)
    found: IntArray = bundle.calibrator.apply(logits).argmax(axis=1)
    return found


def _counts(labels: IntArray, names: Sequence[str]) -> dict[str, int]:
    return dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))


def _warn(bundle: Bundle, labels: Mapping[str, Mapping[str, int]]) -> None:
    log.warning(
        "confidence is NOT calibrated any more, and every row is for review unless a min_confidence is "
        "given: what labeled rows had measured (calibrator, prediction sets, scope, estimates of accuracy) "
        "was of the model before, and is left out. A certificate (`textlabel certify`) holds as ever"
    )
    if bundle.backends:
        log.warning("faster backends were of the model before: run `textlabel optimize` again")
    before, after = labels["before"], labels["after"]
    if gone := [name for name in after if before[name] and not after[name]]:
        log.warning(
            "no text gets %s any more, and before %d of %d did: the adaptation may have collapsed; keep the "
            "model as it was, or take a lower learning_rate or more diversity",
            " or ".join(map(repr, gone)),
            sum(before[name] for name in gone),
            sum(before.values()),
        )


def _bundle(
    start: Bundle, classifier: Classifier, features: FloatArray, labels: IntArray, told: dict[str, Any]
) -> Bundle:
    """Return the new bundle: what of the old one holds, and a map of the texts it was adapted to."""
    names, seed = classifier.schema.names, told["seed"]
    # a score that compares with features of labeled rows has none left to compare with
    compares = "reference" in registry.load("off_map", start.scope.off_map).NEEDS
    off_map = DEFAULT_OFF_MAP if compares else start.scope.off_map
    width = features.shape[1] // classifier.info.layers  # of the last layer, which comes first
    scope = Scope(Map.draw(features, labels, len(names), width=width), off_map, np.zeros(0, dtype=np.float32))
    sets = SetPlan(start.sets.kind, start.sets.alpha)
    rule = sets.fit(np.zeros((0, len(names))), np.zeros(0, np.int64), [], names, seed)
    record = {key: start.record[key] for key in _KEPT if key in start.record}
    record["labels"] = {**record["labels"], "calibration": 0}
    record["off_map"] = asdict(ScopePlan(off_map))
    record["adapted"] = [*start.record.get("adapted", []), told]
    return Bundle(classifier, Uncalibrated(), scope, rule, record)
