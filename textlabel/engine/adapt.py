"""From labels to a calibrated classifier: run the recipe, and calibrate on rows it did not train on."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.corpus.check import require_rows_per_class
from textlabel.corpus.dedup import groups as duplicate_groups
from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import holdout
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint
from textlabel.engine.head import fit_head, solver
from textlabel.engine.loop import train
from textlabel.engine.predict import predict
from textlabel.engine.process import accelerator, derive_seed, sum_over_processes
from textlabel.errors import RecipeError, TrainingError
from textlabel.models.backbone import Backbone
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Classifier
from textlabel.progress import bar
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.trust.moments import fit_moments
from textlabel.trust.sets import lac_quantile
from textlabel.types import FloatArray, IntArray, LabelSchema

log = logging.getLogger("textlabel")

#: from this many labels in the rarest class, a fifth of the rows is held out for calibration
HOLDOUT_FROM = 50
HOLDOUT_SHARE = 0.2
#: share of the rows that early stopping takes where no validation rows were given
VALIDATION_SHARE = 0.15
#: prediction sets miss the true label at most this often
SET_ALPHA = 0.1


@dataclass(frozen=True)
class Task:
    """Labeled rows, and what else a recipe may read.

    Parameters
    ----------
    texts, targets : n labeled rows; class indices (int) or scores (float).
    unlabeled : texts of the target domain, for objectives that read them.
    validation : texts and targets for early stopping, never trained on.
    """

    texts: Sequence[str]
    targets: npt.NDArray[Any]
    schema: LabelSchema
    unlabeled: Sequence[str] = ()
    validation: tuple[Sequence[str], npt.NDArray[Any]] | None = None


@dataclass(frozen=True)
class Calibration:
    """Which rows calibrate: "none", "holdout", "out-of-fold" (head only), or "folds" of whole runs."""

    mode: str
    folds: int = 0

    @classmethod
    def parse(cls, text: str, recipe: Recipe, targets: npt.NDArray[Any], kind: str) -> Calibration:
        """Return the plan for ``auto``, ``holdout``, ``folds=K`` or ``none``.

        A recipe that leaves the body alone always has its out-of-fold logits for nothing.
        """
        if text not in ("auto", "holdout", "none") and not (text.startswith("folds=") and text[6:].isdigit()):
            raise RecipeError(f"calibration = {text!r}: expected auto, holdout, folds=K or none")
        if text in ("none", "holdout"):
            return cls(text)
        if not recipe.trains_body and len(recipe.stages) == 1 and solver(recipe.stages[0]):
            return cls("out-of-fold")
        if text != "auto":
            if int(text[6:]) < 2:
                raise RecipeError(f"calibration = {text!r}: expected at least 2 folds")
            return cls("folds", int(text[6:]))
        rarest = int(np.bincount(targets).min()) if kind == "single" else len(targets)
        return cls("holdout") if rarest >= HOLDOUT_FROM else cls("folds", 3)


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

    Raises
    ------
    RecipeError : the recipe cannot learn from this kind of label.
    CorpusError : a class has fewer rows than folds.
    """
    if task.schema.kind not in recipe.kinds:
        raise RecipeError(
            f"recipe {recipe.name!r} learns from {' or '.join(sorted(recipe.kinds))} labels, these are "
            f"{task.schema.kind}; `textlabel recipes` lists what fits"
        )
    plan = Calibration.parse(calibration, recipe, task.targets, task.schema.kind)
    run = _Run(
        backbone,
        task,
        recipe,
        seed,
        backend,
        _checkpoint(checkpoint, checkpoint_seconds, backbone, task, recipe, seed, calibration),
    )
    everything = np.arange(len(task.targets))
    if plan.mode == "out-of-fold":
        classifier, scored, logits = *run(everything, "final")[:1], everything, run.out_of_fold
    elif plan.mode == "holdout":
        held = holdout(task.targets, run.groups, HOLDOUT_SHARE, seed)
        log.info("calibration: %d of %d rows are held out of training (holdout)", held.sum(), len(held))
        classifier, scored = run(everything[~held], "final")[0], everything[held]
        logits = run.logits(classifier, scored)
    elif plan.mode == "folds":
        log.info(
            "calibration: %d extra training runs, about %dx the time (folds=%d)",
            plan.folds,
            plan.folds,
            plan.folds,
        )
        scored, logits = everything, run.fold_logits(plan.folds)
        classifier = run(everything, "final")[0]
    else:
        classifier, scored, logits = (
            run(everything, "final")[0],
            everything[:0],
            np.zeros((0, task.schema.outputs)),
        )
    trained = everything if plan.mode != "holdout" else np.setdiff1d(everything, scored)
    return _bundle(run, classifier, trained, scored, logits, plan)


class _Run:
    """Runs the recipe on a subset of the rows; what depends on all rows is computed once."""

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        recipe: Recipe,
        seed: int,
        backend: str,
        checkpoint: Checkpoint | NoCheckpoint,
    ) -> None:
        self.backbone, self.task, self.recipe, self.seed = backbone, task, recipe, seed
        self.backend, self.checkpoint = backend, checkpoint
        self.groups = duplicate_groups(task.texts)
        most = max((_folds(stage) for stage in recipe.stages), default=0)
        if task.schema.kind == "single":
            require_rows_per_class([task.schema.names[i] for i in task.targets], task.schema, max(most, 2))
        self.tokens = backbone.encode(task.texts) if recipe.trains_body else []
        self.unlabeled = Rows(backbone.encode(task.unlabeled)) if task.unlabeled else None
        self.base_features: FloatArray | None = None
        self.out_of_fold: FloatArray = np.zeros((0, task.schema.outputs))

    def __call__(self, index: IntArray, name: str) -> tuple[Classifier, IntArray]:
        """Return the classifier trained on rows ``index``."""
        backbone = self.backbone
        if self.recipe.trains_body:
            backbone = replace(backbone, body=copy.deepcopy(backbone.body))
        classifier = Classifier(backbone, self.task.schema)
        for number, stage in enumerate(self.recipe.stages):
            if solver(stage):
                self._solve(classifier, stage, index)
            else:
                self._train(classifier, stage, index, f"{name}-{number}")
        return classifier.eval(), index

    def _solve(self, classifier: Classifier, stage: Stage, index: IntArray) -> None:
        features = (
            self._features(classifier)[index] if _untouched(classifier) else self.features(classifier, index)
        )
        targets, groups = self.task.targets[index], self.groups[index]
        fitted = fit_head(features, targets, groups, self.task.schema.outputs, stage, self.seed)
        classifier.set_head(fitted.head)
        _same_on_all_processes(classifier)
        self.out_of_fold = fitted.out_of_fold

    def _train(self, classifier: Classifier, stage: Stage, index: IntArray, name: str) -> None:
        index, validation = self._validation(stage, index)
        rows = {
            "labeled": Rows(self.tokens or self.backbone.encode(self.task.texts), self.task.targets).take(
                index
            )
        }
        if self.unlabeled is not None:
            rows["unlabeled"] = self.unlabeled
        context = Context(rows, self.task.schema, classifier, accelerator().device)

        def validate() -> float:
            assert validation is not None
            logits, _ = predict(classifier, validation[0], backend=self.backend)
            module = registry.load("objective", stage.objective[0].name)
            return float(module.risk(logits.astype(np.float64), validation[1]))

        with bar(f"train {stage.tune.name}", "step") as update:
            train(
                classifier,
                stage,
                context,
                derive_seed(self.seed, name),
                checkpoint=self.checkpoint.stage(name),
                validate=validate if validation else None,
                progress=update,
            )
        classifier.merge()

    def _validation(self, stage: Stage, index: IntArray) -> tuple[IntArray, tuple[Sequence[str], Any] | None]:
        if not stage.training.patience:
            return index, None
        if self.task.validation is not None:
            return index, self.task.validation
        held = holdout(self.task.targets[index], self.groups[index], VALIDATION_SHARE, self.seed)
        log.info("early stopping: %d of %d rows are held out of training", held.sum(), len(held))
        texts = [self.task.texts[i] for i in index[held]]
        return index[~held], (texts, self.task.targets[index[held]])

    def _features(self, classifier: Classifier) -> FloatArray:
        if self.base_features is None:
            self.base_features = self.features(classifier, np.arange(len(self.task.texts)))
        return self.base_features

    def features(self, classifier: Classifier, index: IntArray) -> FloatArray:
        """Return pooled features (len(index), d) of labeled rows."""
        with bar("encode labeled rows") as update:
            texts = [self.task.texts[i] for i in index]
            return predict(classifier, texts, backend=self.backend, progress=update)[1].astype(np.float64)

    def logits(self, classifier: Classifier, index: IntArray) -> FloatArray:
        """Return logits (len(index), k) of labeled rows."""
        texts = [self.task.texts[i] for i in index]
        return predict(classifier, texts, backend=self.backend)[0].astype(np.float64)

    def fold_logits(self, folds: int) -> FloatArray:
        """Return each row's logits from a run that did not train on its fold."""
        fold = make_folds(self.task.targets, self.groups, folds, self.seed)
        logits = np.zeros((len(fold), self.task.schema.outputs))
        for k in range(folds):
            classifier, _ = self(np.flatnonzero(fold != k), f"fold{k}")
            logits[fold == k] = self.logits(classifier, np.flatnonzero(fold == k))
        return logits


def _bundle(
    run: _Run,
    classifier: Classifier,
    trained: IntArray,
    scored: IntArray,
    logits: FloatArray,
    plan: Calibration,
) -> Bundle:
    task = run.task
    truth = task.targets[scored]
    if task.schema.kind == "score":
        calibrator, moments = None, None
        quantile = _residual_quantile(np.abs(logits[:, 0] - truth), SET_ALPHA)
    else:
        name = "temperature" if len(scored) else "none"
        calibrator = registry.load("calibrator", name).fit(logits, truth)
        quantile = lac_quantile(calibrator.apply(logits), truth, SET_ALPHA) if len(scored) else np.inf
        base = run.base_features if _untouched(classifier) else None
        features = run.features(classifier, trained) if base is None else base[trained]
        moments = fit_moments(features, task.targets[trained], task.schema.outputs)
    record = {
        "recipe": run.recipe.to_dict(),
        "seed": run.seed,
        "labels": {"train": len(trained), "calibration": _budget(plan, scored), "audit": 0},
    }
    return Bundle(classifier, calibrator, moments, float(quantile), record)


def _budget(plan: Calibration, scored: IntArray) -> int | str:
    if plan.mode == "out-of-fold":
        return "out-of-fold, 5 heads"
    return f"out-of-fold, {plan.folds} runs" if plan.mode == "folds" else len(scored)


def _residual_quantile(residuals: FloatArray, alpha: float) -> float:
    """Return the split-conformal quantile of absolute residuals; infinite if there are too few."""
    rank = int(np.ceil((len(residuals) + 1) * (1 - alpha)))
    return float(np.sort(residuals)[rank - 1]) if rank <= len(residuals) else float("inf")


def _folds(stage: Stage) -> int:
    from textlabel.recipe import options_of

    return int(options_of("tune", stage.tune).folds) if solver(stage) else 0


def _untouched(classifier: Classifier) -> bool:
    return not classifier.body_changed and not classifier.adapters


def _same_on_all_processes(classifier: Classifier) -> None:
    """Take process 0's head everywhere: BLAS may round differently in processes of other thread counts."""
    import torch

    this = accelerator()
    if this.num_processes == 1:
        return
    for parameter in classifier.head.parameters():
        values = parameter.detach().cpu().numpy()
        values = values if this.is_main_process else np.zeros_like(values)
        parameter.data.copy_(torch.from_numpy(sum_over_processes(values)))


def _checkpoint(
    folder: Path | None,
    every: float,
    backbone: Backbone,
    task: Task,
    recipe: Recipe,
    seed: int,
    calibration: str,
) -> Checkpoint | NoCheckpoint:
    if folder is None:
        return NoCheckpoint()
    digest = hashlib.sha256()
    for text, target in zip(task.texts, task.targets, strict=True):
        digest.update(f"{target!r}\x1f{text}\x1e".encode())
    for text in task.unlabeled:
        digest.update(f"{text}\x1e".encode())
    facts = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "rows": digest.hexdigest(),
        "backbone": backbone.info.sha256,
        "calibration": calibration,
    }
    return Checkpoint(folder, facts, every)


__all__ = ["Calibration", "Task", "TrainingError", "adapt"]
