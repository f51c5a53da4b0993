"""The step annotate: from a corpus and a model to a folder of labeled rows, which no kill can lose.

Until the folder is complete, predictions lie in shards in a hidden folder beside it, and a repeated run goes
on there. Labels are made of them at the end, in seconds.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from textlabel import registry, tasks
from textlabel.corpus.remote import shown
from textlabel.errors import ExportError, RecipeError, nearest
from textlabel.labeler import Labeler
from textlabel.places import Output
from textlabel.scanning import refuse_personal_data
from textlabel.task_steps import annotate_tasks
from textlabel.trust.label_shift import LabelShift
from textlabel.types import COLUMNS, NODE_COLUMNS, Summary

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.check import OnBadRow, Reject
    from textlabel.corpus.sources import Rows
    from textlabel.engine.cluster import Cluster
    from textlabel.engine.shards import Objects
    from textlabel.trust.estimates import Estimate
    from textlabel.trust.label_shift import Refused
    from textlabel.types import LabelSchema, Predictions

log = logging.getLogger("textlabel")

ENGINES = ("local", "ray")
CLUSTER_KEYS = ("ray_address", "actors", "cpus_per_actor", "gpus_per_actor")
DECISIONS = ("accepted", "review", "out_of_scope")


@dataclass(frozen=True)
class Annotate:
    """Label a corpus with calibrated confidence and write it.

    Parameters
    ----------
    corpus : rows to label: a csv, tsv, jsonl or parquet file, a folder or glob of them, by path or by a URL
        that fsspec knows (s3://bucket/rows.parquet, hf://datasets/user/name/rows.parquet), a saved dataset,
        or a Hub dataset id; every column is carried through. It may be larger than memory.
    model : folder that `fit` wrote, URL of one, or Hub id of a published one. Of a folder of several tasks
        each task writes an annotated corpus of its own, out/TASK; texts are read once for all tasks as far as
        features are cached.
    out : folder or URL for the labeled rows, their provenance record and their card. Below hf:// the
        repository must be there already; it gets them in one commit, and until then shards are kept on this
        machine.
    format : dataset, parquet, jsonl or csv, or label_studio, argilla, doccano or prodigy for people who
        look through it there (`textlabel plugins export`).
    min_confidence : rows at least this sure are accepted, the others are for review; by default 0.9, and of a
        model that learned from no label no row is accepted.
    out_of_scope_rate : share of rows in scope that may be called out of scope by mistake; 0: no row is.
    back_off : probability that the columns node and node_confidence are to reach: the deepest node of the
        label tree that does, null where none does. Labels stay as they are. 0: no such columns.
    correct_label_shift : correct labels and confidence for the class shares of this corpus, estimated without
        labels, of rows in scope; refused with a warning where shares alone do not explain what the model
        says. Accuracy is not estimated then.
    class_shares : shares of the classes among rows in scope of this corpus, if you know them:
        NAME=SHARE,NAME=SHARE, or labeled, as among the labeled rows. Probabilities are corrected until their
        means are these shares, and labels follow. Accuracy is not estimated then.
    gold : rows that people labeled already; where the corpus has the same text, their label stands.
    label_column : column of gold that holds the label.
    label_separator : what parts the classes of a row in that column, where a row may carry several and the
        file holds text, not lists.
    order_by : column or confidence score (`textlabel plugins score`) by which a certificate accepts rows,
        the highest first; -NAME: the lowest first. ensemble and mutual_information need a model of a solved
        head (recipe head) that was not fitted with --forget-rows, knn one fitted with --keep-reference.
    text_column : column that holds the text; several are joined.
    id_column : column that names the row; by default `id` if there is one, else its position.
    split : split of a Hub dataset or of a saved `DatasetDict`.
    config : configuration of a Hub dataset.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    backend : what runs the forward pass: torch, another that `textlabel optimize` kept in the model, or auto,
        the fastest of those that runs here and reads a text the same whatever stands beside it.
    cascade : let the student that `textlabel optimize --cascade` put into the model answer rows that it is
        sure of. Such a row has no ood_score and is never out of scope. Accuracy is not estimated then, and
        class shares cannot be corrected.
    on_long : what is done with texts longer than the model reads: truncate reads their first tokens, window
        all of them in windows that overlap (the column windows tells how many), fail refuses them; by default
        what the model was fitted with.
    window_pooling : how the windows of a text become one: mean, weighted by their tokens, or max; by default
        what the model was fitted with.
    cache : look features of texts up in the feature cache (`textlabel cache`), and keep them there; not with
        the engine ray.
    engine : where shards are made: local, by this command, or ray, by a Ray cluster (extra ray). out must be
        on a place that all nodes reach; an unfinished run of one engine goes on with the other.
    ray_address : host:port of the head of the cluster; by default what RAY_ADDRESS says, else the cluster of
        this machine, which is started if there is none.
    actors : how many processes of the cluster label at once, each with a model of its own; 0: as many as fit.
    cpus_per_actor : CPUs that each is given, and computes on.
    gpus_per_actor : GPUs that each is given; 0.5: two share one.
    resume : go on with an unfinished run, and fail if there is none; without it, one that is there goes on.
    fresh : start over, and delete what an unfinished run did.
    push_to_hub : Hub repository (user/name) to publish the rows, card and record in.
    private : whether a repository that is made now is private.
    revision : branch of it to publish in (made if it does not exist), or to open the pull request against.
    create_pr : open a pull request there instead of changing the branch.
    allow_personal_data : share of the rows that may seem to hold personal data (`textlabel scan`) when they
        are published; with more nothing is.
    """

    corpus: str
    model: str
    out: str
    format: str = "dataset"
    min_confidence: float | None = None
    out_of_scope_rate: float = 0.0
    back_off: float = 0.0
    correct_label_shift: bool = False
    class_shares: str = ""
    gold: str = ""
    label_column: str = "label"
    label_separator: str = ""
    order_by: str = "confidence"
    text_column: tuple[str, ...] = ("text",)
    id_column: str = ""
    split: str = ""
    config: str = ""
    on_bad_row: str = "fail"
    reject_file: str = ""
    backend: str = "torch"
    cascade: bool = False
    on_long: str = ""
    window_pooling: str = ""
    cache: bool = True
    engine: str = "local"
    ray_address: str = ""
    actors: int = 0
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    resume: bool = False
    fresh: bool = False
    push_to_hub: str = ""
    private: bool = True
    revision: str = ""
    create_pr: bool = False
    allow_personal_data: float = 0.0

    def run(self) -> Summary:
        """Label, write, perhaps publish, and return what there is to tell. A killed run is to be repeated."""
        from textlabel.corpus.spool import trimmed

        with trimmed():
            return annotate_tasks(self) if tasks.are_in(self.model) else self.label()

    def label(self, gold_of_all: Rows | None = None) -> Summary:
        """Do what `run` does, by the model of one task.

        Parameters
        ----------
        gold_of_all : gold rows that were read, of which some may have no label of this task.
        """
        from textlabel.engine.process import accelerator
        from textlabel.engine.shards import Objects

        out, cluster = self._out(), self._cluster()
        unfinished = Objects(out.beside("annotate"))
        if cluster is not None and out.in_repository:
            log.warning("shards are kept in %s: all nodes must reach that, too", unfinished.shown)
        labeler, gold = self.ready(gold_of_all)
        corpus, rejects = self._corpus()
        if self.push_to_hub or out.in_repository:  # before hours of work, not behind them
            refuse_personal_data(corpus, self.allow_personal_data, self.push_to_hub or self.out)
        embeddings = self._reads_embeddings(labeler, corpus)
        goes_on = self._goes_on(unfinished)
        start = time.monotonic()
        predictions = labeler.predict(
            corpus, id_column="id", checkpoint=unfinished.place, embeddings=embeddings, cluster=cluster
        )
        rows, estimate, shift = self._label(labeler, corpus, predictions, gold)
        seconds = time.monotonic() - start
        del predictions  # of a large corpus they are some hundred megabytes
        address = None
        if accelerator().is_main_process:
            told = (estimate, shift, self._decided_by(rows, labeler.bundle.accepts_from(self.min_confidence)))
            sealing: dict[str, Any] = {"order_by": self.order_by, "rejected": len(rejects)}
            labeler.export(rows, out.folder, self.format, *told, **sealing)
            out.publish()
            address = self._publish(rows, labeler.record(len(rows), *told))
            unfinished.delete()
        accelerator().wait_for_everyone()
        return {
            "annotations": shown(out.place),
            "format": self.format,
            "hub": address,
            "rows": len(rows),
            "labels": _counts(rows, labeler),
            "decisions": {name: _count(rows, "decision")[name] for name in DECISIONS},
            "estimated_accuracy": None if estimate is None else str(estimate),
            "label_shift": None if shift is None else shift.to_json(labeler.schema.names),
            "backend": labeler.predictor.fit.backend,
            "by_student": labeler.predictor.by_student if self.cascade else None,
            "from_cache": labeler.predictor.from_cache,
            "processes": accelerator().num_processes,
            "seconds": None if goes_on else round(seconds, 1),
            "texts_per_second": None if goes_on else round(len(rows) / seconds, 1),
        }

    def ready(self, gold_of_all: Rows | None = None) -> tuple[Labeler, Dataset | None]:
        """Return the model and the gold rows; what they do not allow fails here, before any row is read."""
        from textlabel.engine.annotate import check_back_off
        from textlabel.engine.order import order_column
        from textlabel.export.csv import check_joined

        labeler = Labeler.from_pretrained(
            self.model, backend=self.backend, cascade=self.cascade, cache=self.cache
        )
        if self.on_long or self.window_pooling:
            labeler.read_long(self.on_long, self.window_pooling)
        labeler.predictor  # noqa: B018 - made when it is asked for, which fails where its backend is missing
        labeler.bundle.accepts_from(self.min_confidence)
        if self.out_of_scope_rate:
            labeler.bundle.scope.threshold(self.out_of_scope_rate)
        check_back_off(self.back_off or None, labeler.schema)
        order_column(self.order_by, COLUMNS, labeler.bundle)
        if self.correct_label_shift:
            labeler.bundle.measured("a correction for class shares")
        labeler.check_shares(self.class_shares or None, self.correct_label_shift)
        if self.format == "csv" and labeler.schema.kind == "multi":
            check_joined(labeler.schema.names)
        return labeler, self._gold(labeler.schema, gold_of_all)

    def _out(self) -> Output:
        out = Output(self.out, ExportError)
        exporter = registry.load("export", self.format)
        if not hasattr(exporter, "FILE"):
            raise ExportError(f"format {self.format!r} writes no folder; to publish, use --push-to-hub REPO")
        if self.resume and self.fresh:
            raise RecipeError(
                "resume goes on with an unfinished run and fresh deletes it: leave one of the two out"
            )
        if self.cascade:
            self._check_cascade()
        return out

    def _cluster(self) -> Cluster | None:
        """Return what makes the shards; None: this process."""
        from textlabel.engine.cluster import Cluster

        given = [name for name in CLUSTER_KEYS if getattr(self, name) != getattr(Annotate, name)]
        if self.engine == "ray":
            return Cluster(self.ray_address, self.actors, self.cpus_per_actor, self.gpus_per_actor)
        if self.engine != "local":
            raise RecipeError(f"engine = {self.engine!r}: {nearest(self.engine, ENGINES)}")
        if given:
            raise RecipeError(f"{given[0]} is for the engine ray: add --engine ray, or leave it out")
        return None

    def _check_cascade(self) -> None:
        """Refuse what reads of every row what only the model itself says."""
        from textlabel.engine.order import told_by_probabilities

        if self.class_shares:
            raise RecipeError(
                "class_shares weighs what the model says of all rows, and in a cascade a student answers "
                "many: leave one of the two out"
            )
        if self.correct_label_shift:
            raise RecipeError(
                "correct_label_shift compares what the model says of all rows with labeled ones, and in a "
                "cascade a student answers many: leave one of the two out"
            )
        if not told_by_probabilities(self.order_by):
            raise RecipeError(
                f"order_by = {self.order_by!r} reads the model's features of every row, and in a cascade a "
                "student answers many: order by confidence, margin or entropy, or leave the cascade out"
            )

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
                f"there is no unfinished run to resume in {unfinished.shown}: leave --resume out to start one"
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
        """Return whether the order of rows or the correction for class shares reads features.

        Fails, before hours of work, if there is no such order.
        """
        from textlabel.audit.seal import check_order_by
        from textlabel.engine.order import order_column

        taken = NODE_COLUMNS if self.back_off else ()
        columns = [*COLUMNS, *taken, *(name for name in corpus.column_names if name not in NODE_COLUMNS)]
        check_order_by(self.order_by, columns)
        placed = self.correct_label_shift and bool(labeler.bundle.members)
        return order_column(self.order_by, columns, labeler.bundle) is not None or placed

    def _label(
        self, labeler: Labeler, corpus: Dataset, predictions: Predictions, gold: Dataset | None
    ) -> tuple[Dataset, Estimate | None, LabelShift | Refused | None]:
        """Return the rows, their estimated accuracy, and the shift that they were corrected for."""
        from textlabel.audit.seal import population

        shift = None
        if self.correct_label_shift:
            shift = labeler.label_shift(predictions, self.out_of_scope_rate)
        elif self.class_shares:
            shift = labeler.stated_shares(predictions, self.class_shares, self.out_of_scope_rate)
        rows = labeler.annotate(
            corpus,
            min_confidence=self.min_confidence,
            out_of_scope_rate=self.out_of_scope_rate,
            back_off=self.back_off or None,
            gold=gold,
            predictions=predictions,
            correct_label_shift=shift or False,
            order_by=self.order_by,
            id_column="id",
        )
        by_model = population(rows)
        # it is of uncorrected labels, and of rows of which the model itself says all that it can
        known = labeler.bundle.source and not isinstance(shift, LabelShift) and predictions.by_student is None
        return rows, labeler.estimate(predictions, by_model) if known and len(by_model) else None, shift

    def _gold(self, schema: LabelSchema, rows_of_all: Rows | None) -> Dataset | None:
        """Return the gold rows with columns ``text`` and ``label``, whatever they are called there."""
        from textlabel.corpus.load import labeled_rows, load_corpus

        if not self.gold:
            return None
        source, separator = cast("Any", self.gold), self.label_separator or None
        if rows_of_all is not None:
            source = labeled_rows(rows_of_all, self.label_column)
            if not source.table.num_rows:
                log.warning("%s: no row has a label in column %r", self.gold, self.label_column)
                return None
            separator = separator if schema.kind == "multi" else None
        return load_corpus(
            source,
            text_column=self.text_column,
            label_column=self.label_column,
            label_kind=schema.kind,
            label_separator=separator,
            classes=schema.labels or None,
        )

    def _decided_by(self, rows: Dataset, accepts_from: float | None) -> dict[str, Any]:
        """Return what decided labels, decisions and order, beside the model."""
        return {
            "min_confidence": accepts_from,
            "out_of_scope_rate": self.out_of_scope_rate,
            **({"back_off": self.back_off} if self.back_off else {}),
            "gold": _count(rows, "source")["human"],
            "order_by": self.order_by,
        }

    def _publish(self, rows: Dataset, record: dict[str, Any]) -> str | None:
        if not self.push_to_hub:
            return None
        from textlabel.export.hub import push

        return push(
            rows,
            self.push_to_hub,
            record,
            private=self.private,
            revision=self.revision or None,
            create_pr=self.create_pr,
            personal_data=self.allow_personal_data,
        )


def _counts(rows: Dataset, labeler: Labeler) -> dict[str, int] | None:
    counts = _count(rows, "label") if labeler.schema.names else Counter()
    return {name: counts[i] for i, name in enumerate(labeler.schema.names)} or None


def _count(rows: Dataset, column: str) -> Counter[Any]:
    """Return how often each value of a column is there; of lists, each value in them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.select_columns(column).with_format("arrow")[:].column(column)
    found = (pc.list_flatten(values) if pa.types.is_list(values.type) else values).value_counts()
    return Counter({pair["values"]: pair["counts"] for pair in found.to_pylist()})
