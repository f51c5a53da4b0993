"""A model of one label set gives labels of another: a map of classes behind its head, no weight trained.

The map lives in the head, as one matrix (`textlabel.models.nonlinear.Mapped`): its outputs are logarithms of
probabilities of the target classes, so calibrators, prediction sets and thresholds read them as any logits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from textlabel import registry
from textlabel.corpus.check import require_rows_per_class
from textlabel.corpus.dedup import groups as duplicate_groups
from textlabel.corpus.split import folds as make_folds
from textlabel.engine.checkpoint import rows_digest
from textlabel.engine.comparison import least_by_far, tempered_losses
from textlabel.engine.head import fit_head
from textlabel.engine.predict import predict
from textlabel.engine.run import Task
from textlabel.engine.scope import ScopePlan
from textlabel.errors import CorpusError, RecipeError
from textlabel.label_tree import read_tree
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier, Frozen
from textlabel.models.heads import Linear
from textlabel.models.nonlinear import Mapped
from textlabel.recipe import Recipe
from textlabel.trust.calibration import Calibrator, softmax
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.calibrators.temperature import Temperature
from textlabel.trust.calibrators.temperature import fit as fit_temperature
from textlabel.trust.choice import choose
from textlabel.trust.label_map import LabelMap, learn_map, stated_map
from textlabel.trust.scope import DEFAULT_OFF_MAP, Map, Scope
from textlabel.trust.set_rule import SetPlan
from textlabel.types import FloatArray, IntArray, LabelSchema

log = logging.getLogger("textlabel")

#: with fewer labeled rows, confidence of a mapped model is not called calibrated
LEAST_ROWS = 20
FOLDS = 5
#: what a comparison calls the two
MAP, HEAD = "label_map", "head"


class _Source(NamedTuple):
    """The head of the source classes, at the temperature that calibrated it."""

    head: Linear

    def __call__(self, features: FloatArray) -> FloatArray:
        return softmax(self.head(features))


def refuse_source(bundle: Bundle) -> None:
    """Raise a `RecipeError` unless the classes of a model can be mapped."""
    model = bundle.classifier
    if model.schema.kind != "single":
        raise RecipeError(
            f"this model gives {model.schema.kind} labels; expected one class a row, whose probabilities a "
            "label map can share out"
        )
    if model.info.origin == "data":
        raise RecipeError("this model is made of n-grams: fit one on a backbone, such as with recipe 'head'")
    if isinstance(model.head, Frozen):
        raise RecipeError(
            f"this model has a head of kind {model.head.name!r}; expected a linear one: fit with recipe "
            "'head', say, or map the model that was fitted first"
        )


def refuse_both(rows: bool, stated: bool, tree: bool) -> None:
    """Raise a `RecipeError` unless a map is either learned of rows or stated, with a tree or without."""
    if rows == stated:
        raise RecipeError(
            "a label map is learned of a few labeled rows of the target label set (--target-labels FILE) or "
            f"stated (--map FILE): expected one of the two, got {'both' if rows else 'neither'}"
        )
    if tree and not stated:
        raise RecipeError("a label tree is for a map that is stated: leave it out, or state the map")


def stated_schema(stated: Mapping[str, str | None], label_tree: Mapping[str, Any] | None) -> LabelSchema:
    """Return the target label set of a stated map: the classes of the tree, or all that it names."""
    if label_tree is not None:
        names, parents = read_tree(label_tree)
        return LabelSchema("single", names, parents=parents)
    named = sorted({goal for goal in stated.values() if isinstance(goal, str)})
    if len(named) < 2:
        raise CorpusError(f"label map: expected two target classes or more, got {named}")
    return LabelSchema("single", tuple(named))


def map_to_rows(bundle: Bundle, task: Task, mode: str, seed: int, backend: str = "torch") -> Bundle:
    """Return a model of the label set of ``task``, mapped by its few labeled rows, which fit nothing else.

    The rows judge it out of fold: for each fold the map is learned of the others. By these outputs a
    temperature is fitted, if there are `LEAST_ROWS`; where a source class is unmapped it is at least 1, so
    that no calibration makes rows of that class surer. Beside it a head is fitted on the rows alone, and the
    record's ``label_map`` tells which of the two is better by more than two paired standard errors.

    Raises
    ------
    RecipeError : no such mode, or a model whose classes cannot be mapped.
    CorpusError : a class with fewer than two distinct texts.
    """
    refuse_source(bundle)
    groups = duplicate_groups(task.texts)
    require_rows_per_class(task.targets, groups, task.schema)
    k, y = len(task.schema.names), task.targets
    _, found = predict(bundle.classifier, task.texts, backend=backend)
    features, source = found.astype(np.float64), _source(bundle)
    theta = source(features)
    learned = learn_map(theta, y, k, mode)
    folds = min(FOLDS, len(np.unique(groups)))
    fold = make_folds(y, groups, folds, seed)
    mapped = np.zeros((len(y), k))
    for held in (fold == number for number in np.unique(fold)):
        part = learn_map(theta[~held], y[~held], k, mode)
        mapped[held] = np.log(np.maximum(part.apply(theta[held]), 1e-12))
    calibrator = _calibrator(mapped, y, learned)
    stage = Recipe.load("head").stages[0]
    alone = fit_head(features, y, groups, k, stage, seed).out_of_fold
    told = _told(bundle, learned, task.schema, mode) | {
        "calibrated": isinstance(calibrator, Temperature),
        "comparison": _comparison(mapped, alone, y),
        "sha256": rows_digest(task.texts, y),
    }
    _warn(told, len(y))
    probabilities = calibrator.apply(mapped)
    if (
        told["calibrated"] and learned.mapped.all()
    ):  # sets are of probabilities that the row did not calibrate
        probabilities = choose(mapped, y, groups, seed, ["temperature"]).probabilities
    rule = SetPlan(bundle.sets.kind, bundle.sets.alpha).fit(
        probabilities, y, task.texts, task.schema.names, seed
    )
    calibration = f"out-of-fold ({folds})" if told["calibrated"] else 0
    labels = {"train": len(y), "calibration": calibration, "audit": 0}
    return _bundle(bundle, source, learned, task.schema, calibrator, rule, labels, told, seed)


def map_as_stated(bundle: Bundle, stated: Mapping[str, str | None], schema: LabelSchema, seed: int) -> Bundle:
    """Return an uncalibrated model of ``schema``, mapped as somebody says; no row is read.

    Raises
    ------
    RecipeError : a model whose classes cannot be mapped.
    CorpusError : a map that does not fit the two label sets.
    """
    refuse_source(bundle)
    names = bundle.classifier.schema.names
    learned = stated_map(stated, names, schema.names, schema.tree)
    told: dict[str, Any] = _told(bundle, learned, schema, "file")
    told |= {"calibrated": False, "comparison": None}
    inner = () if schema.tree is None else schema.tree.inner
    told["split"] = sorted(name for name, goal in stated.items() if goal in inner)
    _warn(told, 0)
    plan = SetPlan(bundle.sets.kind, bundle.sets.alpha)
    rule = plan.fit(np.zeros((0, len(schema.names))), np.zeros(0, np.int64), [], schema.names, seed)
    labels = {"train": 0, "calibration": 0, "audit": 0}
    return _bundle(bundle, _source(bundle), learned, schema, Uncalibrated(), rule, labels, told, seed)


def _source(bundle: Bundle) -> _Source:
    """Return the head with what its calibrator does, where that is affine; else the plain head."""
    state = {name: value.detach().cpu().numpy() for name, value in bundle.classifier.head.named_parameters()}
    said = {} if bundle.calibrator is None else bundle.calibrator.to_json()
    if said.get("name") not in ("temperature", "bias_corrected"):
        return _Source(Linear(state["weight"].astype(np.float64), state["bias"].astype(np.float64)))
    t = said["temperature"]
    return _Source(Linear(state["weight"] / t, state["bias"] / t + np.array(said.get("bias", 0.0))))


def _calibrator(mapped: FloatArray, y: IntArray, learned: LabelMap) -> Calibrator:
    if len(y) < LEAST_ROWS:
        return Uncalibrated()
    found = fit_temperature(mapped, y)
    return found if learned.mapped.all() else Temperature(max(found.temperature, 1.0))


def _comparison(mapped: FloatArray, alone: FloatArray, y: IntArray) -> dict[str, Any]:
    """Return how both do out of fold, and which is better; neither: they are within two standard errors."""
    losses = {MAP: tempered_losses(mapped, y), HEAD: tempered_losses(alone, y)}
    right = {MAP: mapped.argmax(axis=1) == y, HEAD: alone.argmax(axis=1) == y}
    gain = losses[HEAD] - losses[MAP]
    better = None
    for first, other in ((MAP, HEAD), (HEAD, MAP)):
        if least_by_far({first: losses[first], other: losses[other]}) == other:
            better = other
    return {
        "nats": {name: round(float(one.mean()), 4) for name, one in losses.items()},
        "accuracy": {name: round(float(one.mean()), 4) for name, one in right.items()},
        "gain": round(float(gain.mean()), 4),
        "standard_error": round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4),
        "better": better,
    }


def _told(bundle: Bundle, learned: LabelMap, schema: LabelSchema, mode: str) -> dict[str, Any]:
    table = learned.table(bundle.classifier.schema.names, schema.names)
    return {
        "mode": mode,
        "table": table,
        "unmapped": [line["source"] for line in table if line["target"] is None],
        "unreached": learned.unreached(schema.names),
        "started_from": bundle.digest(),
    }


def _warn(told: Mapping[str, Any], rows: int) -> None:
    if not told["calibrated"]:
        log.warning(
            "confidence is NOT calibrated, and every row is for review unless a min_confidence is given: "
            "%d labeled rows of the target label set, expected %d or more",
            *(rows, LEAST_ROWS),
        )
    if told["unmapped"]:
        log.warning(
            "rows of these source classes are for review, of them no counterpart is known%s: %s",
            " by so few rows" if rows and rows < LEAST_ROWS * len(told["unmapped"]) else "",
            told["unmapped"],
        )
    if told["unreached"]:
        log.warning("no source class becomes %s: label rows of it by other means", told["unreached"])
    if told.get("split"):
        log.warning("split evenly among the classes below their node: %s", told["split"])
    if told["comparison"] and told["comparison"]["better"] == HEAD:
        log.warning("a head fitted on the target rows alone is better out of fold: use `textlabel fit`")


def _bundle(
    start: Bundle,
    source: _Source,
    learned: LabelMap,
    schema: LabelSchema,
    calibrator: Calibrator,
    rule: Any,
    labels: dict[str, Any],
    told: dict[str, Any],
    seed: int,
) -> Bundle:
    """Return the mapped model on the body of ``start``, which both share."""
    old = start.classifier
    model = Classifier(Backbone(old.info, old.folder, old.body, old.tokenizer), schema)
    model.set_head(Mapped(source.head.weight, source.head.bias, learned.given))
    model.adapters, model.body_changed = list(old.adapters), old.body_changed
    # the score in scope is of the same features; one that reads logits would read those of other classes
    reads = registry.load("off_map", start.scope.off_map).NEEDS
    scope = start.scope
    if {"logits", "reference"} & set(reads) or scope.known.reference is not None:
        scope = Scope(Map(scope.known.moments, None), DEFAULT_OFF_MAP, np.zeros(0, np.float32))
    record = {
        "recipe": start.record["recipe"],
        "seed": seed,
        "labels": labels,
        "off_map": asdict(ScopePlan(scope.off_map)),
        "head": {"kind": MAP},
        "label_map": {**told, "source_labels": start.record["labels"]},
    }
    if "adapted" in start.record:
        record["adapted"] = start.record["adapted"]
    return Bundle(model.eval(), calibrator, scope, rule, record)
