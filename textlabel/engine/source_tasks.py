"""A body trained on several labeled tasks, each with classes of its own: the start for other label sets."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from textlabel.corpus.check import require_rows_per_class
from textlabel.corpus.dedup import groups
from textlabel.engine import tracking
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint, rows_digest
from textlabel.engine.loop import train
from textlabel.engine.process import accelerator, derive_seed
from textlabel.engine.task import load_task
from textlabel.errors import CorpusError, RecipeError
from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import require_one
from textlabel.models.classifier import Classifier
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe
from textlabel.types import IntArray, LabelSchema

log = logging.getLogger("textlabel")


@dataclass(frozen=True)
class SourceTask:
    """One labeled corpus to learn from.

    Parameters
    ----------
    name : what the user calls it.
    texts, targets : n rows and their class numbers, from 0.
    """

    name: str
    texts: Sequence[str]
    targets: IntArray

    def to_json(self) -> dict[str, Any]:
        """Return what a record tells of it: counts and a hash, no text and no label."""
        told = {"rows": len(self.texts), "classes": len(np.unique(self.targets))}
        return {**told, "sha256": rows_digest(self.texts, self.targets.tolist())}


def read_source_task(name: str, source: Any, **reading: Any) -> SourceTask:
    """Return a labeled corpus with one class a row.

    Parameters
    ----------
    reading : columns and what happens to bad rows, as `load_task` has them.

    Raises
    ------
    CorpusError : it cannot be read, has one class, scores, or a class of one row; task and file are named.
    """
    shown = f"task {name!r} ({source})" if isinstance(source, str | Path) else f"task {name!r}"
    try:
        task, _ = load_task(source, None, None, "single", id_column=False, **reading)
        _refuse_scores(task.schema.names, len(task.texts))
        require_rows_per_class(task.targets, groups(task.texts), task.schema)
    except CorpusError as error:
        raise CorpusError(f"{shown}: {error}") from None
    return SourceTask(name, task.texts, task.targets)


def train_body(
    backbone: Backbone,
    tasks: Sequence[SourceTask],
    recipe: Recipe,
    seed: int,
    *,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
) -> Classifier:
    """Return the backbone trained on all tasks by a recipe, in eval mode; of its head nothing is left.

    Parameters
    ----------
    checkpoint : folder in which training can be resumed after a kill; None: start over.
    checkpoint_seconds : how often it is written.

    Raises
    ------
    RecipeError : the recipe reads other rows than those of tasks.
    TrainingError : no task has classes of enough rows, or the loss is no number.
    """
    refuse_other_rows(recipe)
    require_one(backbone.info, "this trains", "train one of them, and join what comes of it afterwards")
    saved: Checkpoint | NoCheckpoint = NoCheckpoint()
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, _fingerprint(backbone, tasks, recipe, seed), checkpoint_seconds)
    classifier = Classifier(replace(backbone, body=copy.deepcopy(backbone.body)), LabelSchema("score"))
    rows, of = _together(backbone, tasks)
    for number, stage in enumerate(recipe.stages):
        context = Context({"tasks": rows}, classifier.schema, classifier, accelerator().device, tasks=of)
        name = f"tasks-{number}"
        with tracking.steps(f"train {stage.tune.name} ({len(tasks)} tasks)", name) as update:
            stage_seed = derive_seed(seed, name)
            train(classifier, stage, context, stage_seed, checkpoint=saved.stage(name), progress=update)
        classifier.merge()
    return classifier.eval()


def refuse_other_rows(recipe: Recipe) -> None:
    """Raise a `RecipeError` unless the recipe reads the rows of tasks."""
    if not recipe.reads_tasks:
        raise RecipeError(
            f"recipe {recipe.name!r} reads labeled rows of one task, as `textlabel fit` does: expected one "
            "that reads rows of several, such as 'episodic' or 'multi_task' (`textlabel recipes`)"
        )


def _together(backbone: Backbone, tasks: Sequence[SourceTask]) -> tuple[Rows, IntArray]:
    """Return the rows of all tasks, with classes numbered through them, and the task of each row."""
    tokens = [row for task in tasks for row in backbone.encode(task.texts)]
    counts = [int(task.targets.max()) + 1 for task in tasks]
    starts = np.cumsum([0, *counts[:-1]])
    targets = np.concatenate([task.targets + start for task, start in zip(tasks, starts, strict=True)])
    of = np.repeat(np.arange(len(tasks)), [len(task.texts) for task in tasks])
    return Rows(tokens, targets), of


def _refuse_scores(names: Sequence[str], rows: int) -> None:
    """Raise a `CorpusError` if class names are numbers of which some are not whole."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return
    if any(number % 1 for number in numbers):
        raise CorpusError(
            f"the labels are scores, {len(names)} different numbers in {rows} rows; expected classes: group "
            "them into classes with names, or leave this task out"
        )


def _fingerprint(
    backbone: Backbone, tasks: Sequence[SourceTask], recipe: Recipe, seed: int
) -> dict[str, Any]:
    """Return everything that decides the result of training."""
    return {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "tasks": [[task.name, task.to_json()] for task in tasks],  # in their order, which numbers classes
        "backbone": {
            k: v for k, v in backbone.info.to_json().items() if k not in ("name", "origin", "license")
        },
        "processes": accelerator().num_processes,
        "precision": accelerator().mixed_precision,
    }
