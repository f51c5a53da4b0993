"""One run of a recipe on some of the labeled rows; what all runs share is computed once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.corpus.dedup import groups as duplicate_groups
from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import holdout
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint
from textlabel.engine.head import HeadFit, fit_head, risk, solver
from textlabel.engine.loop import train
from textlabel.engine.predict import Float32, Progress, predict
from textlabel.engine.process import accelerator, derive_seed, sum_over_processes
from textlabel.models.backbone import Backbone
from textlabel.models.classifier import Classifier
from textlabel.progress import bar
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.types import FloatArray, IntArray, LabelSchema

log = logging.getLogger("textlabel")

#: share of the rows that early stopping takes where no validation rows were given
VALIDATION_SHARE = 0.15

Labeled = tuple[Sequence[str], npt.NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """Labeled rows, and what else a recipe may read.

    Parameters
    ----------
    texts, targets : n labeled rows; class indices (int) or scores (float).
    schema : what a label is.
    unlabeled : texts of the target domain, for objectives that read them.
    validation : texts and targets for early stopping, never trained on.
    """

    texts: Sequence[str]
    targets: npt.NDArray[Any]
    schema: LabelSchema
    unlabeled: Sequence[str] = ()
    validation: Labeled | None = None


@dataclass
class Run:
    """Trains classifiers by one recipe: call `fit` once for each subset of the rows."""

    backbone: Backbone
    task: Task
    recipe: Recipe
    seed: int
    backend: str
    checkpoint: Checkpoint | NoCheckpoint
    #: the last directly solved head, with what its folds gave
    solved: HeadFit | None = None
    #: folder of the feature cache, which serves only the body as it came; vectors of frozen layers that
    #: memory cannot hold lie there for the time of a stage
    cache: Path | None = None

    @cached_property
    def groups(self) -> IntArray:
        """Equal numbers for equal texts, which must never be on both sides of a split."""
        return duplicate_groups(self.task.texts)

    @cached_property
    def tokens(self) -> list[list[int]]:
        """Token ids of the labeled rows."""
        return self.backbone.encode(self.task.texts)

    @cached_property
    def unlabeled(self) -> Rows:
        """Token ids of the unlabeled rows."""
        return Rows(self.backbone.encode(self.task.unlabeled))

    @cached_property
    def base_features(self) -> FloatArray:
        """Features (n, d) of the labeled rows from the untouched backbone."""
        everything = np.arange(len(self.task.texts))
        return self.features(Classifier(self.backbone, self.task.schema), everything)

    def fit(self, index: IntArray, name: str) -> Classifier:
        """Return the classifier trained on rows ``index``; ``name`` tells its checkpoints apart."""
        backbone = self.backbone
        if self.recipe.trains_body:
            backbone = replace(backbone, body=copy.deepcopy(backbone.body))
        classifier = Classifier(backbone, self.task.schema)
        index, validation = self._validation(index)
        for number, stage in enumerate(self.recipe.stages):
            if solver(stage):
                self._solve(classifier, stage, index)
            else:
                self._train(classifier, stage, index, validation, f"{name}-{number}")
        return classifier.eval()

    def features(self, classifier: Classifier, index: IntArray) -> FloatArray:
        """Return pooled features (len(index), d) of labeled rows."""
        if classifier.untouched and "base_features" in self.__dict__:
            return self.base_features[index]
        with bar("encode labeled rows") as update:
            return self._predict(classifier, index, update)[1].astype(np.float64)

    def logits(self, classifier: Classifier, index: IntArray) -> FloatArray:
        """Return logits (len(index), k) of labeled rows."""
        return self._predict(classifier, index)[0].astype(np.float64)

    def _predict(
        self, classifier: Classifier, index: IntArray, progress: Progress | None = None
    ) -> tuple[Float32, Float32]:
        texts, cache = [self.task.texts[i] for i in index], self.cache if classifier.untouched else None
        return predict(classifier, texts, backend=self.backend, cache=cache, progress=progress)

    def folds(self, count: int) -> list[tuple[IntArray, IntArray]]:
        """Return (rows of the other folds, rows of the fold) for each of ``count`` folds."""
        fold = make_folds(self.task.targets, self.groups, count, self.seed)
        return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]

    def _solve(self, classifier: Classifier, stage: Stage, index: IntArray) -> None:
        features = self.base_features[index] if classifier.untouched else self.features(classifier, index)
        outputs = self.task.schema.outputs
        targets, groups = self.task.targets[index], self.groups[index]
        self.solved = fit_head(features, targets, groups, outputs, stage, self.seed)
        classifier.set_head(self.solved.head)
        _same_on_all_processes(classifier)

    def _train(
        self, classifier: Classifier, stage: Stage, index: IntArray, validation: Labeled | None, name: str
    ) -> None:
        rows = {}
        if stage.rows != "unlabeled":
            rows["labeled"] = Rows(self.tokens, self.task.targets).take(index)
        if stage.rows != "labeled":
            rows["unlabeled"] = self.unlabeled
        context = Context(rows, self.task.schema, classifier, accelerator().device)

        def validate() -> float:
            assert validation is not None
            logits, _ = predict(classifier, validation[0], backend=self.backend)
            return risk(logits.astype(np.float64), validation[1])

        with bar(f"train {stage.tune.name} ({name})", "step") as update:
            train(
                classifier,
                stage,
                context,
                derive_seed(self.seed, name),
                checkpoint=self.checkpoint.stage(name),
                spill=self.cache,
                validate=validate if stage.training.patience else None,
                progress=update,
            )
        classifier.merge()

    def _validation(self, index: IntArray) -> tuple[IntArray, Labeled | None]:
        """Return the rows to train on and those that early stopping looks at, which no stage trains on."""
        if not any(stage.training.patience for stage in self.recipe.stages):
            return index, None
        if self.task.validation is not None:
            return index, self.task.validation
        held = holdout(self.task.targets[index], self.groups[index], VALIDATION_SHARE, self.seed)
        log.info("early stopping: %d of %d rows are held out of training", held.sum(), len(held))
        return index[~held], ([self.task.texts[i] for i in index[held]], self.task.targets[index[held]])


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
