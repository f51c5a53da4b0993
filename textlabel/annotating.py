"""The step annotate: from a corpus and a model to a folder of labeled rows, which no kill can lose.

Until the folder is complete, predictions lie in shards in a hidden folder beside it, and a repeated run goes
on there. Labels are made of them at the end, in seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textlabel import registry
from textlabel.errors import ExportError, RecipeError
from textlabel.labeler import Labeler
from textlabel.places import require_free
from textlabel.trust.label_shift import LabelShift
from textlabel.types import COLUMNS, Summary

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow, Reject
    from textlabel.engine.shards import Objects
    from textlabel.trust.estimates import Estimate
    from textlabel.trust.label_shift import Refused
    from textlabel.types import LabelSchema, Predictions

DECISIONS = ("accepted", "review", "out_of_scope")


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
    correct_label_shift : correct labels and confidence for the class shares of this corpus, estimated without
        labels; refused with a warning where shares alone do not explain what the model says. A model that was
        calibrated out of fold is refused too often: fit with --calibration holdout. Accuracy is not
        estimated then.
    gold : rows that people labeled already; where the corpus has the same text, their label stands.
    label_column : column of gold that holds the label.
    order_by : column or confidence score (`textlabel plugins score`) by which a certificate accepts rows,
        the highest first; -NAME: the lowest first. ensemble and mutual_information need a model of a solved
        head (recipe head) that was not fitted with --private, knn one that was fitted with --keep-reference.
    text_column : column that holds the text; several are joined.
    id_column : column that names the row; by default `id` if there is one, else its position.
    split : split of a Hub dataset or of a saved `DatasetDict`.
    config : configuration of a Hub dataset.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    backend : what runs the forward pass: torch, another that `textlabel optimize` kept in the model, or auto,
        the fastest of those that runs here.
    cache : look features of texts up in the feature cache (`textlabel cache`), and keep them there.
    resume : go on with an unfinished run, and fail if there is none; without it, one that is there goes on.
    fresh : start over, and delete what an unfinished run did.
    push_to_hub : Hub repository (user/name) to publish the rows, card and record in.
    private : whether a repository that is made now is private.
    """

    corpus: str
    model: str
    out: str
    format: str = "dataset"
    min_confidence: float = 0.9
    out_of_scope_rate: float = 0.0
    correct_label_shift: bool = False
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
    cache: bool = True
    resume: bool = False
    fresh: bool = False
    push_to_hub: str = ""
    private: bool = True

    def run(self) -> Summary:
        """Label, write, perhaps publish, and return what there is to tell. A killed run is to be repeated."""
        from textlabel.engine.process import accelerator
        from textlabel.engine.shards import Objects

        out = self._out()
        unfinished = Objects(out.with_name(f".{out.name}.annotate"))
        labeler = Labeler.from_pretrained(self.model, backend=self.backend, cache=self.cache)
        used = labeler.predictor.fit.backend  # fails here, before any row
        if self.correct_label_shift:
            labeler.bundle.measured("a correction for class shares")  # fails before hours of work
        corpus, rejects = self._corpus()
        gold, embeddings = self._gold(labeler.schema), self._reads_embeddings(labeler, corpus)
        goes_on = self._goes_on(unfinished)
        start = time.monotonic()
        predictions = labeler.predict(
            corpus, id_column="id", checkpoint=unfinished.place, embeddings=embeddings
        )
        rows, estimate, shift = self._label(labeler, corpus, predictions, gold)
        seconds = time.monotonic() - start
        address = None
        if accelerator().is_main_process:
            told = (estimate, shift, self._decided_by(rows))
            sealing: dict[str, Any] = {"order_by": self.order_by, "rejected": len(rejects)}
            labeler.export(rows, out, self.format, *told, **sealing)
            address = self._publish(rows, labeler.record(len(rows), *told))
            unfinished.delete()
        accelerator().wait_for_everyone()
        return {
            "annotations": str(out),
            "format": self.format,
            "hub": address,
            "rows": len(rows),
            "labels": _counts(rows, labeler),
            "decisions": {name: rows["decision"][:].count(name) for name in DECISIONS},
            "estimated_accuracy": None if estimate is None else str(estimate),
            "label_shift": None if shift is None else shift.to_json(labeler.schema.names),
            "backend": used,
            "from_cache": labeler.predictor.from_cache,
            "processes": accelerator().num_processes,
            "texts_per_second": None if goes_on else round(len(rows) / seconds, 1),
        }

    def _out(self) -> Path:
        out = require_free(self.out, ExportError)
        exporter = registry.load("export", self.format)
        if not hasattr(exporter, "FILE"):
            raise ExportError(f"format {self.format!r} writes no folder; to publish, use --push-to-hub REPO")
        if self.resume and self.fresh:
            raise RecipeError(
                "resume goes on with an unfinished run and fresh deletes it: leave one of the two out"
            )
        return out

    def _goes_on(self, unfinished: Objects) -> bool:
        """Return whether there is an unfinished run to go on with, and delete it where it is not wanted."""
        from textlabel.engine.process import accelerator
        from textlabel.engine.shards import PLAN

        if not accelerator().is_main_process:
            return False
        if self.fresh:
            unfinished.delete()
        goes_on = PLAN in unfinished.names()
        if self.resume and not goes_on:
            raise ExportError(
                f"there is no unfinished run to resume in {unfinished.place}: leave --resume out to start one"
            )
        return goes_on

    def _corpus(self) -> tuple[Dataset, list[Reject]]:
        from textlabel.corpus.load import load_with_rejects

        return load_with_rejects(
            self.corpus,
            text_column=self.text_column,
            id_column=self.id_column or None,
            split=self.split or None,
            config=self.config or None,
            on_bad_row=cast("OnBadRow", self.on_bad_row),  # checked there
            reject_file=self.reject_file or None,
        )

    def _reads_embeddings(self, labeler: Labeler, corpus: Dataset) -> bool:
        """Return whether the order of rows reads features.

        Fails, before hours of work, if there is no such order.
        """
        from textlabel.audit.seal import check_order_by
        from textlabel.engine.order import order_column

        columns = [*COLUMNS, *corpus.column_names]
        check_order_by(self.order_by, columns)
        return order_column(self.order_by, columns, labeler.bundle) is not None

    def _label(
        self, labeler: Labeler, corpus: Dataset, predictions: Predictions, gold: Dataset | None
    ) -> tuple[Dataset, Estimate | None, LabelShift | Refused | None]:
        """Return the rows, their estimated accuracy, and the shift that they were corrected for."""
        shift = labeler.label_shift(predictions) if self.correct_label_shift else None
        rows = labeler.annotate(
            corpus,
            min_confidence=self.min_confidence,
            out_of_scope_rate=self.out_of_scope_rate,
            gold=gold,
            predictions=predictions,
            correct_label_shift=shift or False,
            order_by=self.order_by,
            id_column="id",
        )
        known = labeler.bundle.source and not isinstance(shift, LabelShift)  # it is of uncorrected labels
        return rows, labeler.estimate(predictions) if known else None, shift

    def _gold(self, schema: LabelSchema) -> Dataset | None:
        """Return the gold rows with columns ``text`` and ``label``, whatever they are called there."""
        from textlabel.corpus.load import load_corpus

        if not self.gold:
            return None
        return load_corpus(
            self.gold,
            text_column=self.text_column,
            label_column=self.label_column,
            label_kind=schema.kind,
            classes=schema.names or None,
        )

    def _decided_by(self, rows: Dataset) -> dict[str, Any]:
        """Return what decided labels, decisions and order, beside the model."""
        return {
            "min_confidence": self.min_confidence,
            "out_of_scope_rate": self.out_of_scope_rate,
            "gold_rows": rows["source"][:].count("human"),
            "order_by": self.order_by,
        }

    def _publish(self, rows: Dataset, record: dict[str, Any]) -> str | None:
        if not self.push_to_hub:
            return None
        from textlabel.export.hub import push

        return push(rows, self.push_to_hub, record, private=self.private)


def _counts(rows: Dataset, labeler: Labeler) -> dict[str, int] | None:
    labels = rows["label"][:]
    return {name: labels.count(i) for i, name in enumerate(labeler.schema.names)} or None
