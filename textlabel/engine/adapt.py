"""From labels to a calibrated classifier: run the recipe, and calibrate on rows it did not train on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from textlabel.corpus.check import require_rows_per_class
from textlabel.corpus.dedup import groups as duplicate_groups
from textlabel.corpus.split import holdout
from textlabel.engine.auto import FOLDS, Choice, choose_recipe
from textlabel.engine.calibration import (
    HOLDOUT_SHARE,
    Calibration,
    check_calibrator,
    check_threshold,
)
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint, rows_digest
from textlabel.engine.noise import check_noisy_labels
from textlabel.engine.pooling import choose_pooling
from textlabel.engine.process import accelerator
from textlabel.engine.refusals import (
    check_alignment,
    check_recipe,
    reads_structure,
    warn_of_rare_classes,
    warn_of_structure,
)
from textlabel.engine.row_weights import check_weigh_rows
from textlabel.engine.run import Run, Task
from textlabel.engine.scope import ScopePlan
from textlabel.engine.shared_features import Store
from textlabel.engine.solvers import solver
from textlabel.engine.twins import twin_heads
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier, Frozen
from textlabel.models.heads import Linear
from textlabel.models.structure import mixings
from textlabel.recipe import Recipe, options_of
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.choice import choose
from textlabel.trust.moments import Float32
from textlabel.trust.multilabel import LEAST_ANSWERS, SubsetRule, fit_subsets
from textlabel.trust.scope import Map, Scope
from textlabel.trust.set_rule import SetPlan
from textlabel.trust.source import Twins, measure_source
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

#: seconds in which alternatives of a recipe may be tried
BUDGET = 60.0


@dataclass(frozen=True)
class Scored:
    """Rows that calibrate: their numbers; logits, off-the-map scores and distances by models without them.

    ``said``: (folds, u) what the model of each fold labels other texts, if that was asked.
    """

    index: IntArray
    logits: FloatArray
    off_map: Float32
    distances: Float32 | None = None
    said: IntArray | None = None


class Fitted(NamedTuple):
    """The final classifier, how many rows it trained on, their map, and the rows that calibrate it."""

    classifier: Classifier
    rows: int
    known: Map
    scored: Scored


def adapt(
    backbone: Backbone,
    task: Task,
    recipe: Recipe,
    seed: int,
    *,
    calibration: str = "auto",
    calibrator: str = "auto",
    scope: ScopePlan = ScopePlan(),  # noqa: B008 - frozen
    sets: SetPlan = SetPlan(),  # noqa: B008 - frozen
    threshold: str = "half",
    noisy_labels: str = "keep",
    weigh_rows: str = "none",
    budget: float = BUDGET,
    fixed_layers: bool = False,
    best_pooling: bool = False,
    backend: str = "torch",
    cache: Store | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Bundle:
    """Return a calibrated classifier, adapted by ``recipe``.

    Parameters
    ----------
    calibration : "auto", "holdout", "folds=K" or "none"; every row used for it is scored by a model
        that did not train on it.
    calibrator : plugin, or "auto": the simplest that those rows do not speak against.
    scope : which score tells texts off the map, and whether features of training rows are kept.
    sets : which prediction sets, and at which level.
    threshold : where rows may carry several classes, from which probability on: "half" or "f1"
        (`textlabel.trust.multilabel`).
    noisy_labels : "keep" trains on all labels as given, "prune" leaves rows out whose label is likely wrong,
        "soft" takes what heads that did not train on such a row say of it instead. Which rows these are is
        found among the rows that train; those that calibrate keep their labels.
    weigh_rows : how labeled rows are weighed toward the unlabeled texts: "none", "density_ratio" or "kmm"
        (`textlabel.trust.row_weights`). The head, its folds and the calibrator count rows so; prediction
        sets, estimates of accuracy and the score off the map do not. Refused weights warn, and all rows count
        alike.
    budget : seconds in which a recipe that has alternatives may try them; 0: only its own stages are tried.
    fixed_layers : whether such a recipe tries no other number of layers than the backbone gives now.
    best_pooling : whether labeled rows choose the pooling first (`textlabel.engine.pooling`).
    cache : folder of the feature cache, where features of labeled rows are looked up and kept; None: without.
    checkpoint : folder in which training can be resumed after a kill; None: start over.
    checkpoint_seconds : how often it is written.

    Raises
    ------
    RecipeError : the recipe cannot learn from this kind of label, or a calibrator has no rows to learn from.
    CorpusError : a class has fewer than two distinct texts.
    """
    check_weigh_rows(weigh_rows, recipe, task.schema.kind, task.unlabeled)
    check_recipe(task, recipe, weigh_rows != "none")
    solved = all(map(solver, recipe.stages)) and not recipe.alternatives and not recipe.trains_body
    check_noisy_labels(noisy_labels, task.schema.kind, solved)
    if recipe.features == "ngrams" and noisy_labels != "keep":
        raise RecipeError(
            f"noisy_labels = {noisy_labels!r} looks at what a backbone says, and recipe {recipe.name!r} has "
            "none: leave it out, or use recipe 'head'"
        )
    scope.check(task.schema.kind)
    sets.check(task.schema.kind)
    plan = Calibration.plan(calibration, recipe, task)
    check_alignment(recipe, plan)
    check_calibrator(calibrator, plan, task)
    check_threshold(threshold, plan, task)

    def start(backbone: Backbone, recipe: Recipe, place: str = "") -> Run:
        facts = _fingerprint(backbone, task, recipe, seed, calibration)
        facts |= {"noisy_labels": noisy_labels, "weigh_rows": weigh_rows}
        saved: Checkpoint | NoCheckpoint = NoCheckpoint()
        if checkpoint is not None:
            saved = Checkpoint(checkpoint / place, facts, checkpoint_seconds)
        return Run(
            *(backbone, task, recipe, seed, backend, saved),
            cache=cache,
            noisy_labels=noisy_labels,
            weigh_rows=weigh_rows,
        )

    if task.schema.kind != "score":
        require_rows_per_class(task.targets, duplicate_groups(task.texts), task.schema)
    judged = backbone, task, recipe, start, fixed_layers
    backbone, pooled = choose_pooling(*judged) if best_pooling else (backbone, [])
    if recipe.alternatives:
        choice = choose_recipe(
            *(backbone, task, recipe, budget, start),
            lambda run, folds, texts: _by_folds(run, folds, scope, texts),
            fixed_layers,
        )
    else:
        choice = Choice(start(backbone, recipe), [])
    run = choice.run
    warn_of_structure(run)
    plan = Calibration.plan(calibration, run.recipe, task)
    plan.announce(len(task.targets))
    if plan.mode == "out-of-fold":
        run.recipe = _with_folds(run.recipe, plan.folds)
    warn_of_rare_classes(run, plan.folds)
    known = choice.folds if plan == Calibration("folds", FOLDS) else None
    fitted = _fit(run, plan, scope, known)
    if task.schema.kind == "multi":
        bundle = _bundle_of_subsets(run, plan, scope, sets, threshold, fitted)
    else:
        bundle = _bundle(run, plan, scope, sets, calibrator, fitted)
    if trials := pooled + choice.trials:
        bundle.record["tried"] = [trial.to_json() for trial in trials]
    return bundle


def _with_folds(recipe: Recipe, folds: int) -> Recipe:
    """Return a recipe of one solved head with that many folds."""
    [stage] = recipe.stages
    tune = replace(stage.tune, options={**stage.tune.options, "folds": folds})
    return replace(recipe, stages=(replace(stage, tune=tune),))


def _fit(run: Run, plan: Calibration, scope: ScopePlan, scored: Scored | None = None) -> Fitted:
    """Return the final classifier and what calibrates it; ``scored``: what folds gave that ran before."""
    targets = run.task.targets
    held = np.zeros(len(targets), dtype=np.bool_)
    if plan.mode == "holdout":
        held = holdout(targets, run.groups, HOLDOUT_SHARE, run.seed)
    if plan.mode == "folds" and scored is None:
        scored = _by_folds(run, plan.folds, scope)
    classifier = run.fit(np.flatnonzero(~held), "final")
    known = scope.map(run, classifier, np.flatnonzero(~held))
    if plan.mode == "out-of-fold":
        assert run.solved is not None
        logits = run.solved.out_of_fold
        scored = Scored(np.arange(len(targets)), logits, *scope.cross_fit(run, classifier, logits))
    elif scored is None:
        rows = np.flatnonzero(held)
        logits = run.logits(classifier, rows)
        scored = Scored(rows, logits, scope.score(run, classifier, known, rows, logits))
    return Fitted(classifier, int((~held).sum()), known, scored)


def _by_folds(run: Run, folds: int, scope: ScopePlan, texts: Sequence[str] = ()) -> Scored:
    """Return all rows, each with logits and score from a run and a map that lack its fold.

    ``texts`` : which the model of each fold labels, too.
    """
    n = len(run.task.targets)
    said = np.zeros((folds, len(texts)), np.int64) if texts else None
    scored = Scored(
        np.arange(n), np.zeros((n, run.task.schema.outputs)), np.zeros(n, dtype=np.float32), said=said
    )
    for k, (others, held) in enumerate(run.folds(folds)):
        classifier = run.fit(others, f"fold{k}of{folds}")
        known = scope.map(run, classifier, others)
        scored.logits[held] = run.logits(classifier, held)
        scored.off_map[held] = scope.score(run, classifier, known, held, scored.logits[held])
        if said is not None:
            said[k] = run.label(classifier, texts)
    return scored


def _record(run: Run, plan: Calibration, chosen: ScopePlan, fitted: Fitted) -> dict[str, Any]:
    """Return what was done, and on how many rows."""
    folds = len(run.solved.members) if plan.mode == "out-of-fold" and run.solved else plan.folds
    labels = {
        "train": fitted.rows,
        "calibration": f"{plan.mode} ({folds})" if folds else len(fitted.scored.index),
        "audit": 0,
    }
    if run.noisy_labels != "keep":
        labels["likely_wrong"] = run.wrong
    if run.task.partial is not None and reads_structure(run.recipe):
        labels["inner_nodes"] = len(run.task.partial[0])
    head = None
    if run.solved is not None:
        chosen_by_cv = {"l2": run.solved.l2, "name_weight": run.solved.name_weight}
        kind = {"kind": fitted.classifier.head.name} if isinstance(fitted.classifier.head, Frozen) else {}
        head = {**chosen_by_cv, "spread": run.solved.spread, **kind}
        if run.task.schema.ordered or run.task.schema.parents:
            head["share"] = run.solved.share
        if run.solved.self_trained is not None:
            head["self_training"] = run.solved.self_trained._asdict()
    weighed = {} if run.weighed is None else {"row_weights": run.weighed.to_json()}
    return {
        "recipe": run.recipe.to_dict(),
        "seed": run.seed,
        "labels": labels,
        "off_map": asdict(chosen),
        "head": head,
        **weighed,
    }


def _bundle_of_subsets(
    run: Run, plan: Calibration, chosen: ScopePlan, sets: SetPlan, threshold: str, fitted: Fitted
) -> Bundle:
    """Return the bundle of a model whose rows may carry several classes."""
    scored, names = fitted.scored, run.task.schema.names
    truth, groups = run.task.targets[scored.index], run.groups[scored.index]
    rule, p = SubsetRule.uncalibrated(len(names)), np.zeros((0, len(names)))
    if len(truth):
        rule, p = fit_subsets(scored.logits, truth, groups, run.seed, threshold)
    scope = Scope(fitted.known, chosen.off_map, np.sort(scored.off_map))
    if len(truth) and rule.whole is None:
        log.warning(
            "fewer than %d rows are all right, or as few are not: the confidence of whole sets of classes is "
            "the product over classes, as if these were independent",
            LEAST_ANSWERS,
        )
    told = {"threshold": threshold, "whole_sets_calibrated": rule.whole is not None}
    record = _record(run, plan, chosen, fitted) | told
    return Bundle(fitted.classifier, rule, scope, sets.fit_subsets(p, truth, names, run.seed), record)


def _bundle(
    run: Run, plan: Calibration, chosen: ScopePlan, sets: SetPlan, calibrator: str, fitted: Fitted
) -> Bundle:
    scored, schema = fitted.scored, run.task.schema
    truth = run.task.targets[scored.index]
    record = _record(run, plan, chosen, fitted)
    scope = Scope(fitted.known, chosen.off_map, np.sort(scored.off_map))
    if schema.kind == "score":
        residuals = np.abs(scored.logits[:, 0] - truth)
        return Bundle(fitted.classifier, None, scope, sets.fit_interval(residuals), record)
    texts = [run.task.texts[i] for i in scored.index]
    if not len(truth):
        rule = sets.fit(scored.logits, truth, texts, schema.names, run.seed)
        return Bundle(fitted.classifier, Uncalibrated(), scope, rule, record)
    candidates = None if calibrator == "auto" else [calibrator]
    groups, weights = run.groups[scored.index], run.row_weights(scored.index)
    found = choose(scored.logits, truth, groups, run.seed, candidates, weights)
    record["calibrators"] = [candidate.to_json() for candidate in found.table]
    rule = sets.fit(found.probabilities, truth, texts, schema.names, run.seed)
    probabilities = found.calibrator.apply(scored.logits)
    source = measure_source(probabilities, truth, _twins(run, plan), _distances(run, scored))
    members = _members(run, plan)
    return Bundle(fitted.classifier, found.calibrator, scope, rule, record, source, members)


def _twins(run: Run, plan: Calibration) -> Twins | None:
    """Return second heads where they cost next to nothing: a solved head on cached features."""
    if plan.mode != "out-of-fold":
        return None
    task, [stage] = run.task, run.recipe.stages
    assert run.solved is not None
    if set(options_of("tune", stage.tune).from_unlabeled) - {"spread"}:
        return None  # twins know nothing of unlabeled rows
    if run.solved.name_weight or run.solved.spread or task.partial or not isinstance(run.solved.head, Linear):
        return None  # twins are linear and learn from labeled rows alone: they are another kind of head
    mixing = mixings(task.schema)[run.solved.share]
    l2, outputs = run.solved.l2, task.schema.outputs
    weights = run.row_weights(np.arange(len(task.targets)))
    return twin_heads(
        run.base_features, task.targets, run.groups, outputs, stage, l2, run.seed, mixing, weights
    )


def _distances(run: Run, scored: Scored) -> Float32 | None:
    """Return the distances by which confidence is tempered, where rows are enough: as many as features.

    With fewer, distances tell little of how much a head varies, and the estimates were worse with them.
    """
    if scored.distances is None:
        return None
    width = run.base_features.shape[1] // run.backbone.info.layers  # as many features as distances look at
    return scored.distances if len(scored.index) >= width else None


def _members(run: Run, plan: Calibration) -> tuple[Linear, ...]:
    """Return the heads of the folds where the calibrator learned from their very logits."""
    if plan.mode != "out-of-fold":
        return ()
    assert run.solved is not None
    heads = [head for head in run.solved.members if isinstance(head, Linear)]
    return tuple(Linear(h.weight.astype(np.float32), h.bias.astype(np.float32)) for h in heads)


def _fingerprint(
    backbone: Backbone, task: Task, recipe: Recipe, seed: int, calibration: str
) -> dict[str, Any]:
    """Return everything that decides the result of training, for refusing another run's checkpoint."""
    texts, targets = task.validation or ((), ())
    partial, candidates = task.partial or ((), ())
    return {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "rows": rows_digest(task.texts, task.targets),
        "validation": rows_digest(texts, targets),
        "partial": rows_digest(partial, candidates),
        "unlabeled": rows_digest(task.unlabeled, [None] * len(task.unlabeled)),
        "schema": task.schema.to_json(),
        "backbone": {
            k: v for k, v in backbone.info.to_json().items() if k not in ("name", "origin", "license")
        },
        "calibration": calibration,
        "processes": accelerator().num_processes,
        "precision": accelerator().mixed_precision,
    }
