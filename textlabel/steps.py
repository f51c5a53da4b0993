"""The three steps of a job, fit, annotate and evaluate, each with the keys it takes.

The commands of the same names run these very steps, so a command and a section of a job file take the
same keys and do the same. What each key means is told here once, for `--help` and for people.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from textlabel import tasks
from textlabel.annotating import Annotate
from textlabel.errors import BundleError, RecipeError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.places import require_free
from textlabel.recipe import Recipe
from textlabel.task_steps import evaluate_tasks, fit_tasks, keep, learned
from textlabel.trust.scope import DEFAULT_OFF_MAP
from textlabel.trust.set_rule import DEFAULT_ALPHA, DEFAULT_SETS
from textlabel.types import LabelSchema, Summary, kind_of

if TYPE_CHECKING:
    from textlabel.corpus.sources import Rows
    from textlabel.report.evaluation import Evaluation

__all__ = ["Annotate", "Evaluate", "Fit", "Step", "Summary", "require_free"]


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
    out : folder for the classifier; an older one there is replaced when the new one is complete.
    train : labeled rows: a csv, tsv, jsonl or parquet file, a folder or glob of them, a saved
        dataset, or a Hub dataset id. Without any, classes or descriptions say what the classes are, in words,
        and confidence is not calibrated.
    classes : names of the classes, which every labeled row must have one of; needed without labeled rows,
        unless descriptions name them.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id; or several, such as
        all-MiniLM-L6-v2+potion-base-8M, whose features lie side by side, for recipes that solve their head.
    recipe : shipped name (`textlabel recipes`), or path of a TOML file.
    unlabeled : rows of the target domain without labels, for recipes that read them; without labeled rows,
        labels are much better with them.
    validation : labeled rows for early stopping, never trained on.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    task : names of several tasks, each with the column that holds its labels (topic=section), in place of
        label_column. A row is of those tasks that it has a label of. out then holds a model for each task, on
        one backbone that stays as it is; descriptions and label_tree are files of {task: ...}.
    label_separator : what parts the classes of a row in that column, such as |, where a row may carry several
        (recipe multilabel) and the file holds text, not lists. An empty text then means none of the classes.
    id_column : column that names the row; by default `id` if there is one, else its position.
    seed : decides folds, order, dropout and new weights.
    calibration : rows that calibrate and are not trained on: auto, holdout, folds=K or none.
    calibrator : turns logits into probabilities (`textlabel plugins calibrator`), or auto: the
        simplest that those rows do not speak against.
    off_map : score that tells how far off the map a text is (`textlabel plugins off_map`).
    keep_reference : keep the features of all training rows in the model, as the score knn needs.
    sets : kind of the prediction sets: lac (the smallest), aps or raps (larger where a row is hard), or class
        (a promise for each class); scores have an interval instead.
    set_alpha : share of the prediction sets that may miss the true label.
    threshold : where rows may carry several classes, from which probability on: half, which makes the fewest
        wrong answers, or f1, for each class that of the best F1, which finds more of a rare class.
    noisy_labels : what to do with training rows whose label is likely wrong (`textlabel check-labels`): keep
        them, prune them, or give them soft labels, which are what other rows say of them.
    weigh_rows : how recipe head weighs labeled rows toward the texts of unlabeled: none, density_ratio (a
        classifier that tells the corpora apart) or kmm (kernel means). Refused, with a warning, where the two
        hardly overlap.
    forget_rows : put nothing into the model that gives away features of a training row, and cache none: no
        reference, no heads of folds (orders ensemble and mutual_information need them) and no twins
        (estimates of accuracy are then without GDE).
    backend : what runs the forward pass (`textlabel plugins backend`).
    cache : look features of labeled rows up in the feature cache (`textlabel cache`), and keep them there.
    pooling : how the vectors of tokens become one: mean, cls (the first token's), max, or best, which labeled
        rows choose, of several tasks those of each; by default what the backbone says of itself.
    layers : how many layers give features, counted from the top, laid side by side; 0: the last one alone, or
        what recipe auto finds best.
    descriptions : JSON file of {class: what it is, in words}, for recipes that read the names of classes, as
        auto does; by default the names say it.
    ordered : the classes, the lowest first, where they are steps of a scale.
    label_tree : JSON file of a tree over the classes, such as {"card": ["lost", "stolen"], "other": []}. Rows
        may be labeled with an inner node of it; solved heads learn from these, too.
    budget : time in which recipe auto may try recipes that train the backbone, such as 10m; 0: none of them.
    max_length : tokens kept of a text; 0: what the backbone says of itself.
    on_long : what is done with longer texts: truncate reads their first tokens, window all of them in windows
        that overlap, fail refuses them. Labeling does the same. A recipe that trains the body trains it on
        first tokens.
    window_pooling : how the windows of a text become one: mean, weighted by their tokens, or max.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    reject_file : with skip, JSON lines of the rows left out.
    self_contained : also copy a backbone that could be had by its name.
    """

    out: str
    train: str = ""
    classes: tuple[str, ...] = ()
    backbone: str = DEFAULT_BACKBONE
    recipe: str = "head"
    unlabeled: str = ""
    validation: str = ""
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    task: tuple[str, ...] = ()
    label_separator: str = ""
    id_column: str = ""
    seed: int = 0
    calibration: str = "auto"
    calibrator: str = "auto"
    off_map: str = DEFAULT_OFF_MAP
    keep_reference: bool = False
    sets: str = DEFAULT_SETS
    set_alpha: float = DEFAULT_ALPHA
    threshold: str = "half"
    noisy_labels: str = "keep"
    weigh_rows: str = "none"
    forget_rows: bool = False
    backend: str = "torch"
    cache: bool = True
    pooling: str = ""
    layers: int = 0
    descriptions: str = ""
    ordered: tuple[str, ...] = ()
    label_tree: str = ""
    budget: str = "60s"
    max_length: int = 0
    on_long: str = "truncate"
    window_pooling: str = "mean"
    on_bad_row: str = "fail"
    reject_file: str = ""
    self_contained: bool = False

    def run(self) -> Summary:
        """Train, save, and return what there is to tell. A killed run goes on when it is repeated."""
        from textlabel.engine.process import accelerator
        from textlabel.engine.task import read_descriptions, read_label_tree

        self._check_forget_rows()
        if self.task:
            return fit_tasks(self)
        out = require_free(self.out, BundleError)
        checkpoint = out.with_name(f".{out.name}.checkpoint")
        start = time.monotonic()
        labeler = Labeler(
            self.backbone,
            self.recipe,
            descriptions=read_descriptions(self.descriptions) if self.descriptions else None,
            ordered=self.ordered,
            label_tree=read_label_tree(self.label_tree) if self.label_tree else None,
            budget=self.budget,
            **self.options(),
        )
        labeler.fit(
            self.train or None,
            self.unlabeled or None,
            self.validation or None,
            label_column=self.label_column,
            classes=self.classes or None,
            checkpoint=checkpoint,
            reject_file=self.reject_file or None,
            **self.loading(),
        )
        keep(self, labeler, out, checkpoint)
        return {
            "model": str(out),
            "recipe": self.recipe if self.train else labeler.record()["recipe"]["name"],
            **learned(labeler),
            "processes": accelerator().num_processes,
            "seconds": round(time.monotonic() - start, 1),
        }

    def _check_forget_rows(self) -> None:
        if self.forget_rows and Recipe.load(self.recipe).features == "ngrams":
            raise RecipeError(
                f"forget_rows = true: recipe {self.recipe!r} is made of pieces of the training texts, which "
                "stay in the model; use a recipe on a backbone, or leave it out"
            )
        if self.forget_rows and Recipe.load(self.recipe).keeps_rows:
            raise RecipeError(
                f"forget_rows = true: the head of recipe {self.recipe!r} holds the features of all training "
                "rows; use another, such as 'head', or leave it out"
            )
        if self.forget_rows and self.keep_reference:
            raise RecipeError(
                "forget_rows = true and keep_reference = true: the reference holds the features of all "
                "training rows; leave one of the two out"
            )

    def options(self) -> dict[str, Any]:
        """Return what a labeler is told, be it of one task or of several."""
        return {
            "seed": self.seed,
            "backend": self.backend,
            "calibration": self.calibration,
            "calibrator": self.calibrator,
            "off_map": self.off_map,
            "keep_reference": self.keep_reference,
            "sets": self.sets,
            "set_alpha": self.set_alpha,
            "threshold": self.threshold,
            "noisy_labels": self.noisy_labels,
            "weigh_rows": self.weigh_rows,
            "cache": self.cache and not self.forget_rows,
            "pooling": self.pooling or None,
            "layers": self.layers or None,
            "max_length": self.max_length or None,
            "on_long": self.on_long,
            "window_pooling": self.window_pooling,
        }

    def loading(self) -> dict[str, Any]:
        """Return how rows are read, be they of one task or of several."""
        return {
            "text_column": self.text_column,
            "label_separator": self.label_separator or None,
            "id_column": self.id_column or None,
            "on_bad_row": self.on_bad_row,
        }


@dataclass(frozen=True)
class Evaluate:
    """Compare annotated rows with gold labels, joined by id.

    Parameters
    ----------
    annotations : folder that `annotate` wrote, in any format, or a URL of one; of several tasks, each is
        compared with the rows of gold that have a label of it, in the column that `fit` learned it from; one
        without any is left out.
    gold : rows with the true labels, from the same corpus, by path or URL; it may cover a part of it.
    label_column : column of gold that holds the label; not for several tasks.
    label_separator : what parts the classes of a row in that column, where a row may carry several and the
        file holds text, not lists.
    id_column : column of gold that names the row; by default `id` if there is one, else its position.
    """

    annotations: str
    gold: str
    label_column: str = "label"
    label_separator: str = ""
    id_column: str = ""

    def run(self) -> Summary:
        """Return the numbers of the evaluation, of several tasks by task."""
        found = {task: evaluation.to_json() for task, evaluation in self.evaluations().items()}
        return found.get("") or {"tasks": found}

    def evaluations(self) -> dict[str, Evaluation]:
        """Return the `Evaluation` of each task; of a folder of one model there is one, without a name."""
        return evaluate_tasks(self) if tasks.are_in(self.annotations) else {"": self.compare()}

    def compare(self, rows_of_all: Rows | None = None) -> Evaluation:
        """Return the `Evaluation` of a folder of one model.

        Parameters
        ----------
        rows_of_all : gold rows that were read, of which some may have no label of this task.
        """
        from textlabel.corpus.load import labeled_rows, load_corpus
        from textlabel.export._read import read_annotations, read_record
        from textlabel.report.evaluation import evaluate_labels

        rows = read_annotations(self.annotations)
        kind = kind_of(rows.features["label"])
        separator: str | None = self.label_separator or None
        source: Any = self.gold
        if rows_of_all is not None:
            source = labeled_rows(rows_of_all, self.label_column)
            separator = separator if kind == "multi" else None
        gold = load_corpus(
            source,
            text_column=None,
            label_column=self.label_column,
            id_column=self.id_column or None,
            label_kind=kind,
            label_separator=separator,
        )
        schema = LabelSchema.from_json(read_record(self.annotations)["schema"])
        return evaluate_labels(rows, gold, schema=schema)
