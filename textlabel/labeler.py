"""The facade: fit, annotate, evaluate, save, publish. It delegates and holds no logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from textlabel.errors import BundleError
from textlabel.recipe import Recipe
from textlabel.trust.scope import DEFAULT_OFF_MAP
from textlabel.types import LabelKind, LabelSchema, Predictions

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow
    from textlabel.models.bundle import Bundle
    from textlabel.report.evaluation import Evaluation
    from textlabel.trust.estimates import Estimate

#: chosen by recipes/benchmarks/backbones.py; its table is in README
DEFAULT_BACKBONE = "bge-small-en-v1.5-int8"

Source = Any  # path, glob, Hub id, datasets.Dataset, or list of dicts: see textlabel.corpus.load


class Labeler:
    """Adapt a backbone to a few labels, then label a corpus with calibrated confidence.

    Parameters
    ----------
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    recipe : shipped name (`textlabel recipes`), path of a TOML file, or `Recipe`.
    seed : decides folds, order, dropout and new weights.
    backend : what runs the forward pass.
    calibration : "auto", "holdout", "folds=K" or "none": which rows, unseen in training, calibrate.
    calibrator : plugin (`textlabel plugins calibrator`), or "auto": the simplest that those rows do
        not speak against.
    off_map : score that tells how far off the map a text is (`textlabel plugins off_map`).
    keep_reference : keep the features of all training rows in the model, as the score "knn" needs.
    pooling, normalize, max_length : how features are read; None: as the backbone says of itself.

    Examples
    --------
    >>> from textlabel import Labeler
    >>> labeler = Labeler(backbone="all-MiniLM-L6-v2", recipe="head", seed=0)
    >>> labeler.fit("reviews.csv").annotate("unlabeled.csv").save_to_disk("out")  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: str | Path = DEFAULT_BACKBONE,
        recipe: str | Path | Recipe = "head",
        *,
        seed: int = 0,
        backend: str = "torch",
        calibration: str = "auto",
        calibrator: str = "auto",
        off_map: str = DEFAULT_OFF_MAP,
        keep_reference: bool = False,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
    ) -> None:
        self.backbone = backbone
        self._recipe: Recipe | dict[str, Any] = Recipe.load(recipe)
        self.seed = seed
        self.backend = backend
        self.calibration = calibration
        self.calibrator = calibrator
        self.off_map = off_map
        self.keep_reference = keep_reference
        self._reading = {"pooling": pooling, "normalize": normalize, "max_length": max_length}
        self._bundle: Bundle | None = None

    @property
    def recipe(self) -> Recipe:
        """How it adapts; of a loaded labeler, how it once did."""
        if isinstance(self._recipe, dict):
            self._recipe = Recipe.from_dict(self._recipe, where="the recipe in the model")
        return self._recipe

    @property
    def bundle(self) -> Bundle:
        """The trained classifier; a `BundleError` before `fit` or `load`."""
        if self._bundle is None:
            raise BundleError(
                "this labeler has not learned anything yet: call fit(train) or Labeler.load(folder)"
            )
        return self._bundle

    @property
    def schema(self) -> LabelSchema:
        """What a label is."""
        return self.bundle.classifier.schema

    def fit(
        self,
        train: Source,
        unlabeled: Source | None = None,
        validation: Source | None = None,
        *,
        text_column: str | Sequence[str] = "text",
        label_column: str = "label",
        checkpoint: str | Path | None = None,
        on_bad_row: str = "fail",
        reject_file: str | Path | None = None,
        **loading: Any,
    ) -> Labeler:
        """Adapt to labeled rows and return this labeler.

        Parameters
        ----------
        train : labeled rows: path, glob, Hub id, Dataset or list of dicts.
        unlabeled : rows of the target domain without labels, for recipes that read them.
        validation : labeled rows for early stopping; never trained on.
        checkpoint : folder in which a killed fit resumes when it is repeated.
        on_bad_row : "fail" stops at the first unusable row, "skip" leaves such rows out.
        reject_file : with "skip", one JSON object for each row left out, of all three sources.
        loading : further options of `textlabel.load_corpus` for the labeled rows.

        Raises
        ------
        CorpusError, RecipeError, BackboneError, TrainingError
        """
        from textlabel.corpus.check import (
            Reject,
            infer_schema,
            rows_after_audit,
            without_undecided,
            write_rejects,
        )
        from textlabel.corpus.load import load_with_rejects
        from textlabel.engine.adapt import adapt
        from textlabel.engine.run import Task
        from textlabel.engine.scope import ScopePlan
        from textlabel.models.backbone import load_backbone
        from textlabel.report.record import complete_record

        kind: LabelKind = "score" if "score" in self.recipe.kinds else "single"
        rejects: list[Reject] = []

        def load(source: Source, **columns: Any) -> Dataset:
            choice = cast("OnBadRow", on_bad_row)  # checked there
            rows, bad = load_with_rejects(source, text_column=text_column, on_bad_row=choice, **columns)
            rejects.extend(bad)
            return rows

        labels = {"label_column": label_column, "label_kind": kind}
        rows = without_undecided(load(train, **labels, **loading))
        schema = infer_schema(rows, kind)
        from_audits = rows_after_audit(rows)
        held = None if validation is None else load(validation, classes=schema.names or None, **labels)
        more = [] if unlabeled is None else list(load(unlabeled)["text"])
        from_audits += 0 if held is None else rows_after_audit(held)
        if reject_file is not None and on_bad_row == "skip":
            write_rejects(rejects, reject_file)
        task = Task(
            list(rows["text"]),
            targets(rows, schema),
            schema,
            more,
            None if held is None else (list(held["text"]), targets(held, schema)),
        )
        backbone = load_backbone(self.backbone, **self._reading)
        bundle = adapt(
            backbone,
            task,
            self.recipe,
            self.seed,
            calibration=self.calibration,
            calibrator=self.calibrator,
            scope=ScopePlan(self.off_map, self.keep_reference),
            backend=self.backend,
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )
        bundle.record = complete_record(bundle)
        bundle.record["labels"]["audit"] = from_audits
        self._bundle = bundle
        return self

    def predict(
        self, corpus: Source, *, text_column: str | Sequence[str] = "text", **loading: Any
    ) -> Predictions:
        """Return logits, features and off-the-map scores of a corpus, in input order."""
        from textlabel.corpus.load import load_corpus

        return self._predict(load_corpus(corpus, text_column=text_column, **loading))

    def _predict(self, rows: Dataset) -> Predictions:
        from textlabel.engine.predict import predict
        from textlabel.progress import bar

        with bar("annotate") as update:
            texts = list(rows["text"])
            logits, features = predict(self.bundle.classifier, texts, backend=self.backend, progress=update)
        ood = self.bundle.scope.score(logits, features)
        return Predictions(list(rows["id"]), logits, self.schema, features, ood)

    def annotate(
        self,
        corpus: Source,
        *,
        text_column: str | Sequence[str] = "text",
        min_confidence: float = 0.9,
        out_of_scope_rate: float = 0.0,
        gold: Source | None = None,
        label_column: str = "label",
        predictions: Predictions | None = None,
        **loading: Any,
    ) -> Dataset:
        """Return the corpus with label, confidence and the rest of the exported row, in input order.

        Parameters
        ----------
        corpus : path, glob, Hub id, Dataset or list of dicts; every other column is carried through.
        min_confidence : rows at least this sure are "accepted", the others are for "review".
        out_of_scope_rate : share of rows in scope that may be called "out_of_scope"; 0: no row is.
        gold : rows that people labeled already, such as those of `fit`: where the corpus has the same text,
            their label stands and ``source`` is "human".
        label_column : column of gold that holds the label.
        predictions : what `predict` returned for this corpus, so that it need not run again.
        loading : further options of `textlabel.load_corpus`.
        """
        from textlabel.corpus.load import load_corpus
        from textlabel.engine.annotate import annotate
        from textlabel.engine.gold import with_gold

        known = None
        if gold is not None:
            known = load_corpus(
                gold,
                text_column=text_column,
                label_column=label_column,
                label_kind=self.schema.kind,
                classes=self.schema.names or None,
            )
        rows = load_corpus(corpus, text_column=text_column, **loading)
        made = predictions or self._predict(rows)
        labeled = annotate(rows, made, self.bundle, min_confidence, out_of_scope_rate)
        return labeled if known is None else with_gold(labeled, known)

    def estimate(self, predictions: Predictions) -> Estimate:
        """Return about how many labels of a corpus are right, without labels of it: no guarantee.

        Parameters
        ----------
        predictions : what `predict` returned for the corpus.

        Raises
        ------
        BundleError : no labeled row calibrated this model, so there is nothing to compare with.
        """
        from textlabel.trust.estimates import estimate_accuracy

        source, calibrator = self.bundle.source, self.bundle.calibrator
        if source is None or calibrator is None:
            raise BundleError(
                "this model keeps no statistics of labeled rows, which an estimate of accuracy needs: fit "
                "classes again, with calibration other than 'none'"
            )
        return estimate_accuracy(calibrator.apply(predictions.logits), source, predictions.embeddings)

    def export(
        self,
        rows: Dataset,
        folder: str | Path,
        form: str = "dataset",
        estimate: Estimate | None = None,
        **sealing: Any,
    ) -> Path:
        """Write annotated rows, sealed, with their provenance record and card, and return the folder.

        Only sealed annotations can be audited and certified (`textlabel.audit`).

        Parameters
        ----------
        rows : what `annotate` returned.
        form : dataset, parquet, jsonl or csv.
        estimate : of the share of right labels, for the record.
        sealing : ``order_by`` and ``rejected`` of `textlabel.audit.seal.seal`.
        """
        from textlabel import registry
        from textlabel.audit.seal import seal

        record = {**self.record(len(rows), estimate), "seal": seal(rows, **sealing)}
        path: Path = registry.load("export", form).write(rows, Path(folder), record)
        return path

    def evaluate(self, annotations: Dataset, gold: Source, **loading: Any) -> Evaluation:
        """Return how well annotations agree with gold labels, joined by id."""
        from textlabel.corpus.load import load_corpus
        from textlabel.report.evaluation import evaluate_labels

        loading = {"label_column": "label", "label_kind": self.schema.kind, **loading}
        return evaluate_labels(annotations, load_corpus(gold, **loading))

    def record(self, rows: int | None = None, estimate: Estimate | None = None) -> dict[str, Any]:
        """Return the provenance record that exports and cards carry."""
        known = None if estimate is None else estimate.to_json()
        return {**self.bundle.record, "rows": rows, "estimate": known}

    def save(self, folder: str | Path, *, self_contained: bool = False) -> Path:
        """Write the classifier (safetensors, JSON, model card) and return its folder.

        Parameters
        ----------
        self_contained : also copy a backbone that could be had by its name.
        """
        from textlabel.engine.process import accelerator
        from textlabel.report.cards import model_card

        if accelerator().is_main_process:
            path = self.bundle.save(folder, self_contained)
            (path / "README.md").write_text(model_card(self.bundle.record), encoding="utf-8")
        accelerator().wait_for_everyone()
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path, *, backend: str = "torch") -> Labeler:
        """Return a labeler from a folder that `save` wrote; it gives the same labels."""
        from textlabel.models.bundle import Bundle

        bundle = Bundle.load(folder)
        info = bundle.classifier.info
        labeler = cls(
            info.name,
            seed=bundle.record["seed"],
            backend=backend,
            off_map=bundle.scope.off_map,
            keep_reference=bundle.scope.known.reference is not None,
            pooling=info.pooling,
            normalize=info.normalize,
            max_length=info.max_length,
        )
        labeler._recipe = bundle.record["recipe"]  # read when somebody fits again: its plugins may be absent
        labeler._bundle = bundle
        return labeler

    def push_to_hub(self, repo_id: str, *, private: bool = True, self_contained: bool = False) -> str:
        """Upload the classifier as a Hub model repository and return its address."""
        import tempfile

        from textlabel.export.hub import push_folder

        with tempfile.TemporaryDirectory() as folder:
            return push_folder(
                self.save(Path(folder) / "model", self_contained=self_contained), repo_id, private
            )

    @classmethod
    def from_pretrained(
        cls, ref: str | Path, *, revision: str | None = None, backend: str = "torch"
    ) -> Labeler:
        """Return a labeler from a local folder or a Hub repository."""
        if Path(ref).is_dir():
            return cls.load(ref, backend=backend)
        from textlabel.models.backbone import download

        if str(ref).count("/") != 1 or str(ref).startswith((".", "~", "/")):
            raise BundleError(
                f"{ref}: no such folder; expected one that `textlabel fit --out` wrote, or a Hub id"
            )
        return cls.load(download(str(ref), revision), backend=backend)


def targets(rows: Dataset, schema: LabelSchema) -> np.ndarray[Any, Any]:
    """Return class indices (int64) or scores (float64) of loaded rows."""
    if schema.kind == "score":
        return np.asarray(rows["label"], dtype=np.float64)
    position: Mapping[str, int] = {name: i for i, name in enumerate(schema.names)}
    for name in set(rows["label"]) - set(position):
        schema.index(name)
    return np.array([position[name] for name in rows["label"]], dtype=np.int64)
