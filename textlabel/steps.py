"""The three steps of a job, fit, annotate and evaluate, each with the keys it takes.

The commands of the same names run these very steps, so a command and a section of a job file take the
same keys and do the same. What each key means is told here once, for `--help` and for people.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from textlabel import registry
from textlabel.audit.store import FOLDER
from textlabel.errors import BundleError, ExportError, RecipeError, TextlabelError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.trust.scope import DEFAULT_OFF_MAP
from textlabel.types import COLUMNS

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow
    from textlabel.report.evaluation import Evaluation
    from textlabel.trust.estimates import Estimate
    from textlabel.types import LabelKind

#: what a step tells when it is done; JSON-ready
Summary = dict[str, Any]

#: the file by which a folder is known to be ours: a model or annotations
OURS = "textlabel.json"

DECISIONS = ("accepted", "review", "out_of_scope")


class Step(Protocol):
    """A part of a job that runs by itself."""

    def run(self) -> Summary:
        """Do it and return what there is to tell."""
        ...


@dataclass(frozen=True)
class Fit:
    """Adapt a backbone to labeled rows and write the classifier.

    Parameters
    ----------
    train : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id.
    out : folder for the classifier; an older one there is replaced when the new one is complete.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    recipe : shipped name (`textlabel recipes`), or path of a TOML file.
    unlabeled : rows of the target domain without labels, for recipes that read them.
    validation : labeled rows for early stopping, never trained on.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    id_column : column that names the row; by default `id` if there is one, else its position.
    seed : decides folds, order, dropout and new weights.
    calibration : rows that calibrate and are not trained on: auto, holdout, folds=K or none.
    calibrator : turns logits into probabilities (`textlabel plugins calibrator`), or auto: the
        simplest that those rows do not speak against.
    off_map : score that tells how far off the map a text is (`textlabel plugins off_map`).
    keep_reference : keep the features of all training rows in the model, as the score knn needs.
    private : refuse whatever would put features of a training row into the model.
    backend : what runs the forward pass (`textlabel plugins backend`).
    pooling : mean or cls; by default what the backbone says of itself.
    max_length : tokens kept of a text; 0: what the backbone says of itself.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    self_contained : also copy a backbone that could be had by its name.
    """

    train: str
    out: str
    backbone: str = DEFAULT_BACKBONE
    recipe: str = "head"
    unlabeled: str = ""
    validation: str = ""
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    id_column: str = ""
    seed: int = 0
    calibration: str = "auto"
    calibrator: str = "auto"
    off_map: str = DEFAULT_OFF_MAP
    keep_reference: bool = False
    private: bool = False
    backend: str = "torch"
    pooling: str = ""
    max_length: int = 0
    on_bad_row: str = "fail"
    reject_file: str = ""
    self_contained: bool = False

    def run(self) -> Summary:
        """Train, save, and return what there is to tell. A killed run goes on when it is repeated."""
        from textlabel.engine.process import accelerator

        if self.private and self.keep_reference:
            raise RecipeError(
                "private = true and keep_reference = true: the reference holds the features of all training "
                "rows; leave one of the two out"
            )
        out = require_free(self.out, BundleError)
        checkpoint = out.with_name(f".{out.name}.checkpoint")
        start = time.monotonic()
        labeler = Labeler(
            self.backbone,
            self.recipe,
            seed=self.seed,
            backend=self.backend,
            calibration=self.calibration,
            calibrator=self.calibrator,
            off_map=self.off_map,
            keep_reference=self.keep_reference,
            pooling=self.pooling or None,
            max_length=self.max_length or None,
        )
        labeler.fit(
            self.train,
            self.unlabeled or None,
            self.validation or None,
            text_column=self.text_column,
            label_column=self.label_column,
            checkpoint=checkpoint,
            id_column=self.id_column or None,
            on_bad_row=self.on_bad_row,
            reject_file=self.reject_file or None,
        )
        labeler.save(out, self_contained=self.self_contained)
        if accelerator().is_main_process:
            shutil.rmtree(checkpoint, ignore_errors=True)
        record = labeler.record()
        return {
            "model": str(out),
            "recipe": self.recipe,
            "backbone": self.backbone,
            "classes": list(labeler.schema.names),
            "labels": record["labels"],
            "calibrator": record["calibrator"],
            "processes": accelerator().num_processes,
            "seconds": round(time.monotonic() - start, 1),
        }


@dataclass(frozen=True)
class Annotate:
    """Label a corpus with calibrated confidence and write it.

    Parameters
    ----------
    corpus : rows to label: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id; every column is carried through.
    model : folder that `fit` wrote, or Hub id of a published one.
    out : folder for the labeled rows, their provenance record and their card.
    format : dataset, parquet, jsonl or csv (`textlabel plugins export`).
    min_confidence : rows at least this sure are accepted, the others are for review.
    out_of_scope_rate : share of rows in scope that may be called out of scope by mistake; 0: no row is.
    gold : rows that people labeled already; where the corpus has the same text, their label stands.
    label_column : column of gold that holds the label.
    order_by : column or confidence score (`textlabel plugins score`) by which a certificate accepts rows,
        the highest first; -NAME: the lowest first.
    text_column : column that holds the text; several are joined.
    id_column : column that names the row; by default `id` if there is one, else its position.
    split : split of a Hub dataset or of a saved `DatasetDict`.
    config : configuration of a Hub dataset.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    backend : what runs the forward pass (`textlabel plugins backend`).
    push_to_hub : Hub repository (user/name) to publish the rows, card and record in.
    private : whether a repository that is made now is private.
    """

    corpus: str
    model: str
    out: str
    format: str = "dataset"
    min_confidence: float = 0.9
    out_of_scope_rate: float = 0.0
    gold: str = ""
    label_column: str = "label"
    order_by: str = "confidence"
    text_column: tuple[str, ...] = ("text",)
    id_column: str = ""
    split: str = ""
    config: str = ""
    on_bad_row: str = "fail"
    reject_file: str = ""
    backend: str = "torch"
    push_to_hub: str = ""
    private: bool = True

    def run(self) -> Summary:
        """Label, write, perhaps publish, and return what there is to tell."""
        from textlabel.audit.seal import check_order_by
        from textlabel.corpus.load import load_with_rejects
        from textlabel.engine.process import accelerator

        out = require_free(self.out, ExportError)
        exporter = registry.load("export", self.format)
        if not hasattr(exporter, "FILE"):
            raise ExportError(f"format {self.format!r} writes no folder; to publish, use --push-to-hub REPO")
        labeler = Labeler.from_pretrained(self.model, backend=self.backend)
        corpus, rejects = load_with_rejects(
            self.corpus,
            text_column=self.text_column,
            id_column=self.id_column or None,
            split=self.split or None,
            config=self.config or None,
            on_bad_row=cast("OnBadRow", self.on_bad_row),  # checked there
            reject_file=self.reject_file or None,
        )
        gold = self._gold(labeler.schema.kind)
        check_order_by(self.order_by, [*COLUMNS, *corpus.column_names])
        start = time.monotonic()
        predictions = labeler.predict(corpus, id_column="id")
        rows = labeler.annotate(
            corpus,
            min_confidence=self.min_confidence,
            out_of_scope_rate=self.out_of_scope_rate,
            gold=gold,
            predictions=predictions,
            id_column="id",
        )
        estimate = labeler.estimate(predictions) if labeler.bundle.source else None
        seconds = time.monotonic() - start
        address = None
        if accelerator().is_main_process:
            labeler.export(rows, out, self.format, estimate, order_by=self.order_by, rejected=len(rejects))
            address = self._publish(rows, labeler, estimate)
        accelerator().wait_for_everyone()
        return {
            "annotations": str(out),
            "format": self.format,
            "hub": address,
            "rows": len(rows),
            "labels": _counts(rows, labeler),
            "decisions": {name: rows["decision"][:].count(name) for name in DECISIONS},
            "estimated_accuracy": None if estimate is None else str(estimate),
            "processes": accelerator().num_processes,
            "texts_per_second": round(len(rows) / seconds, 1),
        }

    def _gold(self, kind: LabelKind) -> Dataset | None:
        """Return the gold rows with columns ``text`` and ``label``, whatever they are called there."""
        from textlabel.corpus.load import load_corpus

        if not self.gold:
            return None
        return load_corpus(
            self.gold, text_column=self.text_column, label_column=self.label_column, label_kind=kind
        )

    def _publish(self, rows: Dataset, labeler: Labeler, estimate: Estimate | None) -> str | None:
        if not self.push_to_hub:
            return None
        from textlabel.export.hub import push

        return push(rows, self.push_to_hub, labeler.record(len(rows), estimate), private=self.private)


@dataclass(frozen=True)
class Evaluate:
    """Compare annotated rows with gold labels, joined by id.

    Parameters
    ----------
    annotations : folder that `annotate` wrote, in any format.
    gold : rows with the true labels, from the same corpus; it may cover a part of it.
    label_column : column of gold that holds the label.
    id_column : column of gold that names the row; by default `id` if there is one, else its position.
    """

    annotations: str
    gold: str
    label_column: str = "label"
    id_column: str = ""

    def run(self) -> Summary:
        """Return the numbers of the evaluation."""
        return self.evaluation().to_json()

    def evaluation(self) -> Evaluation:
        """Return the `Evaluation`."""
        from textlabel.corpus.load import load_corpus
        from textlabel.export._read import read_annotations
        from textlabel.report.evaluation import evaluate_labels

        rows = read_annotations(self.annotations)
        gold = load_corpus(
            self.gold,
            text_column=None,
            label_column=self.label_column,
            id_column=self.id_column or None,
            label_kind="single" if hasattr(rows.features["label"], "names") else "score",
        )
        return evaluate_labels(rows, gold)


def require_free(path: str | Path, error: type[TextlabelError]) -> Path:
    """Return the absolute path of an output folder that may be written, or raise ``error`` now.

    Asked before hours of work: a folder that holds something else than our own earlier output is
    refused, and so is a place where nothing can be written.
    """
    target = Path(path).expanduser().resolve()
    if target.exists() and not target.is_dir():
        raise error(f"{target} is a file; expected a folder to write into: choose another path")
    if target.is_dir() and any(target.iterdir()) and not (target / OURS).is_file():
        raise error(f"{target} is not empty and not an earlier output of textlabel: choose another folder")
    if (target / FOLDER).is_dir():
        raise error(
            f"{target / FOLDER} holds draws or answers of people, which would be lost: choose another folder"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            return target
    except OSError as reason:
        raise error(f"{target} cannot be written: {reason}") from None


def _counts(rows: Dataset, labeler: Labeler) -> dict[str, int] | None:
    labels = rows["label"][:]
    return {name: labels.count(i) for i, name in enumerate(labeler.schema.names)} or None
