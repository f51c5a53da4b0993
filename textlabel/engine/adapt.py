"""From labels to a calibrated classifier: run the recipe, and calibrate on rows it did not train on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from textlabel import registry
from textlabel.corpus.check import require_rows_per_class
from textlabel.corpus.split import holdout
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint
from textlabel.engine.head import solver
from textlabel.engine.process import accelerator
from textlabel.engine.run import Run, Task
from textlabel.errors import RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier
from textlabel.recipe import Recipe, options_of
from textlabel.trust.moments import fit_moments
from textlabel.trust.sets import conformal_quantile, lac_quantile
from textlabel.types import FloatArray, IntArray

log = logging.getLogger("textlabel")

#: from this many labels in the rarest class, a fifth of the rows is held out for calibration
HOLDOUT_FROM = 50
HOLDOUT_SHARE = 0.2
#: prediction sets miss the true label at most this often
SET_ALPHA = 0.1


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
        if len(recipe.stages) == 1 and solver(recipe.stages[0]):
            return cls("out-of-fold", folds or int(options_of("tune", recipe.stages[0].tune).folds))
        if folds:
            return cls("folds", folds)
        rarest = len(task.targets) if task.schema.kind == "score" else int(np.bincount(task.targets).min())
        return cls("holdout") if rarest >= HOLDOUT_FROM else cls("folds", 3)

    def announce(self, rows: int) -> None:
        """Tell what calibrating costs, where it costs something."""
        if self.mode == "holdout":
            log.info("calibration: %d of %d rows are held out of training", round(rows * HOLDOUT_SHARE), rows)
        elif self.mode == "folds":
            log.info("calibration: %d extra training runs (folds=%d)", self.folds, self.folds)


@dataclass(frozen=True)
class Scored:
    """Rows that calibrate: their numbers, and logits from models that did not train on them."""

    index: IntArray
    logits: FloatArray


def adapt(
    backbone: Backbone,
    task: Task,
    recipe: Recipe,
    seed: int,
    *,
    calibration: str = "auto",
    backend: str = "torch",
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Bundle:
    """Return a calibrated classifier, adapted by ``recipe``.

    Parameters
    ----------
    calibration : "auto", "holdout", "folds=K" or "none"; every row used for it is scored by a model
        that did not train on it.
    checkpoint : folder in which training can be resumed after a kill; None: start over.
    checkpoint_seconds : how often it is written.

    Raises
    ------
    RecipeError : the recipe cannot learn from this kind of label.
    CorpusError : a class has fewer rows than folds.
    """
    _check(task, recipe)
    plan = Calibration.plan(calibration, recipe, task)
    plan.announce(len(task.targets))
    if plan.mode == "out-of-fold":
        recipe = _with_folds(recipe, plan.folds)
    _check_folds(task, recipe)
    facts = _fingerprint(backbone, task, recipe, seed, calibration)
    saved = NoCheckpoint() if checkpoint is None else Checkpoint(checkpoint, facts, checkpoint_seconds)
    run = Run(backbone, task, recipe, seed, backend, saved)
    classifier, trained, scored = _fit(run, plan)
    return _bundle(run, plan, classifier, trained, scored)


def _check(task: Task, recipe: Recipe) -> None:
    if task.schema.kind not in recipe.kinds:
        raise RecipeError(
            f"recipe {recipe.name!r} learns from {' or '.join(sorted(recipe.kinds))} labels, these are "
            f"{task.schema.kind} labels; `textlabel recipes` lists what fits"
        )
    if any(stage.rows != "labeled" for stage in recipe.stages) and not task.unlabeled:
        raise RecipeError(f"recipe {recipe.name!r} reads unlabeled rows: give them (--unlabeled CORPUS)")
    if task.unlabeled and all(stage.rows == "labeled" for stage in recipe.stages):
        log.warning("unlabeled rows are not used: no stage of recipe %r reads them", recipe.name)
    if task.validation and not any(stage.training.patience for stage in recipe.stages):
        log.warning("validation rows are not used: no stage of recipe %r has patience", recipe.name)


def _check_folds(task: Task, recipe: Recipe) -> None:
    if task.schema.kind == "single":
        folds = [options_of("tune", stage.tune).folds for stage in recipe.stages if solver(stage)]
        names = [task.schema.names[i] for i in task.targets]
        require_rows_per_class(names, task.schema, max(folds, default=2))


def _with_folds(recipe: Recipe, folds: int) -> Recipe:
    """Return a recipe of one solved head with that many folds."""
    [stage] = recipe.stages
    tune = replace(stage.tune, options={**stage.tune.options, "folds": folds})
    return replace(recipe, stages=(replace(stage, tune=tune),))


def _fit(run: Run, plan: Calibration) -> tuple[Classifier, IntArray, Scored]:
    """Return the final classifier, the rows it trained on, and the rows that calibrate it."""
    everything = np.arange(len(run.task.targets))
    if plan.mode == "holdout":
        held = holdout(run.task.targets, run.groups, HOLDOUT_SHARE, run.seed)
        classifier = run.fit(everything[~held], "final")
        scored = Scored(everything[held], run.logits(classifier, everything[held]))
        return classifier, everything[~held], scored
    if plan.mode == "folds":
        scored = Scored(everything, run.fold_logits(plan.folds))
        return run.fit(everything, "final"), everything, scored
    classifier = run.fit(everything, "final")
    if plan.mode == "out-of-fold":
        assert run.out_of_fold is not None
        return classifier, everything, Scored(everything, run.out_of_fold)
    return classifier, everything, Scored(everything[:0], np.zeros((0, run.task.schema.outputs)))


def _bundle(run: Run, plan: Calibration, classifier: Classifier, trained: IntArray, scored: Scored) -> Bundle:
    task = run.task
    truth = task.targets[scored.index]
    labels = {
        "train": len(trained),
        "calibration": f"{plan.mode} ({plan.folds})" if plan.folds else len(scored.index),
        "audit": 0,
    }
    record = {"recipe": run.recipe.to_dict(), "seed": run.seed, "labels": labels, "set_alpha": SET_ALPHA}
    score = task.schema.kind == "score"
    classes = np.zeros(len(trained), dtype=np.int64) if score else task.targets[trained]
    moments = fit_moments(run.features(classifier, trained), classes, task.schema.outputs)
    if score:
        residuals = np.abs(scored.logits[:, 0] - truth)
        return Bundle(classifier, None, moments, conformal_quantile(residuals, SET_ALPHA), record)
    calibrator = registry.load("calibrator", "temperature" if len(truth) else "none").fit(
        scored.logits, truth
    )
    quantile = lac_quantile(calibrator.apply(scored.logits), truth, SET_ALPHA) if len(truth) else np.inf
    return Bundle(classifier, calibrator, moments, float(quantile), record)


def _fingerprint(
    backbone: Backbone, task: Task, recipe: Recipe, seed: int, calibration: str
) -> dict[str, Any]:
    """Return everything that decides the result of training, for refusing another run's checkpoint."""
    texts, targets = task.validation or ((), ())
    return {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "rows": _digest(task.texts, task.targets),
        "validation": _digest(texts, targets),
        "unlabeled": _digest(task.unlabeled, [None] * len(task.unlabeled)),
        "schema": task.schema.to_json(),
        "backbone": {
            k: v for k, v in asdict(backbone.info).items() if k not in ("name", "origin", "license")
        },
        "calibration": calibration,
        "processes": accelerator().num_processes,
        "precision": accelerator().mixed_precision,
    }


def _digest(texts: Sequence[str], targets: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for text, target in zip(texts, targets, strict=True):
        digest.update(f"{target!r}\x1f{text}\x1e".encode())
    return digest.hexdigest()
