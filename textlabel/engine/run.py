"""One run of a recipe on some of the labeled rows; what all runs share is computed once."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.corpus.dedup import groups as duplicate_groups
from textlabel.corpus.dedup import text_key
from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import holdout, splittable
from textlabel.engine import tracking
from textlabel.engine.augmentation import Copies, copies_of
from textlabel.engine.checkpoint import Checkpoint, NoCheckpoint
from textlabel.engine.fitter import SPREAD_LABELS, Aside
from textlabel.engine.head import HeadFit, fit_head
from textlabel.engine.lexical import lexical_classifier
from textlabel.engine.loop import train
from textlabel.engine.noise import Cleaner
from textlabel.engine.predict import Float32, Progress, predict
from textlabel.engine.process import accelerator, derive_seed, sum_over_processes
from textlabel.engine.row_weights import target_rows, weigh
from textlabel.engine.shared_features import Store, folder_of
from textlabel.engine.solvers import risk, solver
from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import require_one
from textlabel.models.class_names import by_template, sentences
from textlabel.models.classifier import Classifier
from textlabel.models.ngrams import NGramModel
from textlabel.models.structure import mixings
from textlabel.progress import bar
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe, Stage, options_of
from textlabel.trust.row_weights import Refused, RowWeights
from textlabel.trust.stated_shares import LABELED, read_shares
from textlabel.types import FloatArray, IntArray, LabelSchema

log = logging.getLogger("textlabel")

#: share of the rows that early stopping takes where no validation rows were given
VALIDATION_SHARE = 0.15
#: unlabeled texts that a solved head reads; more take longer and change little
SPREAD_ROWS = 2000

Labeled = tuple[Sequence[str], npt.NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """Labeled rows, and what else a recipe may read.

    Parameters
    ----------
    texts, targets : n labeled rows; class indices (int), scores (float), or (n, k) 0 and 1, the classes that
        a row carries.
    schema : what a label is.
    unlabeled : texts of the target domain, for objectives that read them.
    validation : texts and targets for early stopping, never trained on.
    partial : texts of rows labeled with an inner node of the label tree, and (m, k) which classes are below
        it; solved heads learn from them, and nothing is judged or calibrated by them.
    """

    texts: Sequence[str]
    targets: npt.NDArray[Any]
    schema: LabelSchema
    unlabeled: Sequence[str] = ()
    validation: Labeled | None = None
    partial: Labeled | None = None


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
    cache: Store | None = None
    #: what is done with labels that are likely wrong: "keep", "prune" or "soft"
    noisy_labels: str = "keep"
    #: how rows are weighed toward the unlabeled texts: "none", "density_ratio" or "kmm"
    weigh_rows: str = "none"
    #: rows of the last fit whose labels were found wrong
    wrong: int = 0

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

    @cached_property
    def weighed(self) -> RowWeights | Refused | None:
        """How much each labeled row counts, or why all count alike; None: nobody asked.

        Weights read no label, so those of all rows are found at once, whatever folds are made later.
        """
        if self.weigh_rows == "none":
            return None
        target = target_rows(self.task.unlabeled, self.seed)
        features = self._read(Classifier(self.backbone, self.task.schema), target)
        groups = duplicate_groups([*self.task.texts, *target])
        return weigh(self.weigh_rows, self.base_features, features, groups, self.seed)

    def row_weights(self, index: IntArray) -> FloatArray | None:
        """Return how much each of rows ``index`` counts, (n,), or None: all count alike."""
        return self.weighed.weights[index] if isinstance(self.weighed, RowWeights) else None

    def share_features(self, whole: Run) -> None:
        """Take features from a run that reads more layers of the same backbone: the last come first."""
        layers, more = self.backbone.info.layers, whole.backbone.info.layers
        # what is of unit length as a whole is longer where fewer layers share it
        scale = (more / layers) ** 0.5 if self.backbone.info.normalize else 1.0
        for name in ("base_features", "base_unlabeled", "base_partial", "base_names"):
            if name in whole.__dict__:
                features = whole.__dict__[name]
                self.__dict__[name] = scale * features[:, : features.shape[1] // more * layers]

    def fit(self, index: IntArray, name: str) -> Classifier:
        """Return the classifier trained on rows ``index``; ``name`` tells its checkpoints apart.

        Raises
        ------
        RecipeError : a recipe that does not only solve its head, on several backbones.
        """
        if self.recipe.features == "ngrams":
            return self._of_ngrams(index)
        backbone = self.backbone
        if not all(map(solver, self.recipe.stages)):
            told = f"recipe {self.recipe.name!r} trains by gradient, through"
            require_one(
                backbone.info, told, "take one of them, or a recipe that solves its head, such as head"
            )
        if self.recipe.trains_body:
            backbone = replace(backbone, body=copy.deepcopy(backbone.body))
        classifier = Classifier(backbone, self.task.schema)
        index, validation = self._validation(index)
        cleaner, kept = self._cleaner(index)
        for number, stage in enumerate(self.recipe.stages):
            if solver(stage):
                self._solve(classifier, stage, index, cleaner)
            else:
                self._train(classifier, stage, kept, validation, f"{name}-{number}")
        return classifier.eval()

    def _of_ngrams(self, index: IntArray) -> Classifier:
        texts, task = [self.task.texts[i] for i in index], self.task
        found = lexical_classifier(texts, task.targets[index], self.groups[index], task.schema, self.seed)
        same_on_all_processes(found)
        return found

    def features(self, classifier: Classifier, index: IntArray) -> FloatArray:
        """Return pooled features (len(index), d) of labeled rows."""
        if classifier.untouched and "base_features" in self.__dict__:
            return self.base_features[index]
        with bar("encode labeled rows") as update:
            return self._predict(classifier, index, update)[1].astype(np.float64)

    def logits(self, classifier: Classifier, index: IntArray) -> FloatArray:
        """Return logits (len(index), k) of labeled rows."""
        return self._predict(classifier, index)[0].astype(np.float64)

    def label(self, classifier: Classifier, texts: Sequence[str]) -> IntArray:
        """Return the classes (len(texts),) of texts."""
        cache = self.cache if classifier.untouched else None
        return np.asarray(predict(classifier, texts, backend=self.backend, cache=cache)[0].argmax(axis=1))

    def _predict(
        self, classifier: Classifier, index: IntArray, progress: Progress | None = None
    ) -> tuple[Float32, Float32]:
        texts, cache = [self.task.texts[i] for i in index], self.cache if classifier.untouched else None
        return predict(classifier, texts, backend=self.backend, cache=cache, progress=progress)

    def folds(self, count: int) -> list[tuple[IntArray, IntArray]]:
        """Return (rows of the other folds, rows of the fold) for each of ``count`` folds."""
        fold = make_folds(self.task.targets, self.groups, count, self.seed)
        return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(count)]

    def _cleaner(self, index: IntArray) -> tuple[Cleaner | None, IntArray]:
        """Return what mends labels among rows ``index``, and those of them that gradients train on."""
        if self.noisy_labels == "keep":
            return None, index
        outputs, rows = self.task.schema.outputs, np.arange(len(index))
        cleaner = Cleaner(
            *(self.base_features[index], self.task.targets[index], self.groups[index]),
            *(outputs, self.noisy_labels, self.seed),
        )
        found = cleaner.errors(rows)[0].found
        self.wrong = int(found.sum())
        return cleaner, index[~found]

    def _solve(
        self, classifier: Classifier, stage: Stage, index: IntArray, cleaner: Cleaner | None = None
    ) -> None:
        features = self.base_features[index] if classifier.untouched else self.features(classifier, index)
        outputs = self.task.schema.outputs
        targets, groups = self.task.targets[index], self.groups[index]
        aside = self._aside(classifier, stage, index)
        tried = mixings(self.task.schema)
        self.solved = fit_head(
            *(features, targets, groups, outputs, stage, self.seed, cleaner, aside),
            mixings=tried,
            row_weights=self.row_weights(index),
        )
        classifier.set_head(self.solved.head)
        same_on_all_processes(classifier)

    def _aside(self, classifier: Classifier, stage: Stage, index: IntArray) -> Aside:
        """Return what a solved head may learn from beside the rows ``index``."""
        options = options_of("tune", stage.tune)
        copies = self._copies(stage, index, "head")
        reads = set(options.from_unlabeled) - ({"spread"} if len(index) > SPREAD_LABELS else set())
        return Aside(
            names=by_template(self._names(classifier)) if any(options.name_weights) else None,
            copies=self._read(classifier, copies.texts) if copies.texts else None,
            owners=copies.owners,
            unlabeled=self._unlabeled_features(classifier) if reads else None,
            **self._partial(classifier),
            shares=self._class_shares(options.class_shares),
        )

    def _class_shares(self, stated: str) -> FloatArray | None:
        """Return the shares of classes that a recipe states, (k,); None: those of the labeled rows."""
        return None if stated == LABELED else read_shares(stated, self.task.schema.names, None)

    def _partial(self, classifier: Classifier) -> dict[str, Any]:
        """Return features and candidates of the rows labeled with inner nodes; empty: there are none."""
        if self.task.partial is None:
            return {}
        texts, candidates = self.task.partial
        features = self.base_partial if classifier.untouched else self._read(classifier, texts)
        return {"partial": features, "candidates": candidates}

    @cached_property
    def base_partial(self) -> FloatArray:
        """Features of rows labeled with inner nodes from the untouched backbone."""
        assert self.task.partial is not None
        return self._read(Classifier(self.backbone, self.task.schema), self.task.partial[0])

    def _names(self, classifier: Classifier) -> FloatArray:
        """Return features (t * k, d) of sentences that hold the names of the classes."""
        if classifier.untouched:
            return self.base_names
        return self._read(classifier, sentences(self.task.schema.in_words()))

    @cached_property
    def base_names(self) -> FloatArray:
        """Features of these sentences from the untouched backbone."""
        return self._read(Classifier(self.backbone, self.task.schema), sentences(self.task.schema.in_words()))

    def _unlabeled_features(self, classifier: Classifier) -> FloatArray:
        """Return features of `spread_texts`."""
        if classifier.untouched:
            return self.base_unlabeled
        return self._read(classifier, self.spread_texts)

    @cached_property
    def base_unlabeled(self) -> FloatArray:
        """Features of some unlabeled texts from the untouched backbone."""
        return self._read(Classifier(self.backbone, self.task.schema), self.spread_texts)

    @cached_property
    def spread_texts(self) -> list[str]:
        """At most `SPREAD_ROWS` different unlabeled texts, drawn at random."""
        known = {text_key(text) for text in self.task.texts}
        texts = [text for text in dict.fromkeys(self.task.unlabeled) if text_key(text) not in known]
        order = np.random.default_rng(derive_seed(self.seed, "unlabeled")).permutation(len(texts))
        return [texts[i] for i in np.sort(order[:SPREAD_ROWS])]

    def _read(self, classifier: Classifier, texts: Sequence[str]) -> FloatArray:
        cache = self.cache if classifier.untouched else None
        return predict(classifier, texts, backend=self.backend, cache=cache)[1].astype(np.float64)

    def _train(
        self, classifier: Classifier, stage: Stage, index: IntArray, validation: Labeled | None, name: str
    ) -> None:
        rows = {}
        if stage.rows != "unlabeled":
            rows["labeled"] = self._rows(stage, index, name)
        if stage.rows != "labeled":
            rows["unlabeled"] = self.unlabeled
        context = Context(rows, self.task.schema, classifier, accelerator().device)

        def validate() -> float:
            assert validation is not None
            logits, _ = predict(classifier, validation[0], backend=self.backend)
            loss = risk(logits.astype(np.float64), validation[1])
            tracking.log({f"{name}/validation_loss": loss})
            return loss

        with tracking.steps(f"train {stage.tune.name} ({name})", name) as update:
            train(
                classifier,
                stage,
                context,
                derive_seed(self.seed, name),
                checkpoint=self.checkpoint.stage(name),
                spill=folder_of(self.cache),
                validate=validate if stage.training.patience else None,
                progress=update,
            )
        classifier.merge()

    def _rows(self, stage: Stage, index: IntArray, name: str) -> Rows:
        """Return the rows that a stage trains on, and behind them the changed copies that it asks for."""
        rows = Rows(self.tokens, self.task.targets).take(index)
        copies = self._copies(stage, index, name)
        tokens = [*rows.tokens, *self.backbone.encode(copies.texts)]
        return Rows(tokens, np.concatenate([rows.targets, rows.targets[copies.owners]]))

    def _copies(self, stage: Stage, index: IntArray, name: str) -> Copies:
        """Return changed copies of rows ``index``, owned by places in ``index``, as a stage asks for them."""
        texts = [self.task.texts[i] for i in index]
        return copies_of(texts, stage, self.backbone, derive_seed(self.seed, name))

    def _validation(self, index: IntArray) -> tuple[IntArray, Labeled | None]:
        """Return the rows to train on and those that early stopping looks at, which no stage trains on."""
        if not any(stage.training.patience for stage in self.recipe.stages):
            return index, None
        if self.task.validation is not None:
            return index, self.task.validation
        targets, groups = self.task.targets[index], self.groups[index]
        held = splittable(targets, groups)
        held[held] = holdout(targets[held], groups[held], VALIDATION_SHARE, self.seed)
        log.info("early stopping: %d of %d rows are held out of training", held.sum(), len(held))
        return index[~held], ([self.task.texts[i] for i in index[held]], self.task.targets[index[held]])


def same_on_all_processes(classifier: Classifier) -> None:
    """Take what process 0 solved everywhere: BLAS may round differently where there are more threads."""
    import torch

    this = accelerator()
    if this.num_processes == 1:
        return
    solved = classifier if isinstance(classifier.body, NGramModel) else classifier.head
    for parameter in solved.parameters():
        values = parameter.detach().cpu().numpy()
        values = values if this.is_main_process else np.zeros_like(values)
        parameter.data.copy_(torch.from_numpy(sum_over_processes(values)))
