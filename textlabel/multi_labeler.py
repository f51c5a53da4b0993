"""Several tasks at once: a labeler for each task, on one backbone that reads every text once."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel import tasks as task_folder
from textlabel.audit.store import FOLDER as ANSWERS
from textlabel.errors import BundleError, CorpusError, RecipeError, TextlabelError, nearest
from textlabel.export._folder import RECORD
from textlabel.fitted import Source
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.models.backend_fit import REFERENCE
from textlabel.recipe import Recipe
from textlabel.task_columns import of_task, prefixed, refuse_taken

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.corpus.sources import Rows
    from textlabel.report.evaluation import Evaluation
    from textlabel.types import LabelKind

log = logging.getLogger("textlabel")


class MultiLabeler:
    """Learn several tasks from rows with several label columns, and label a corpus for all of them.

    Each task has a `Labeler` of its own, and all that belongs to one: calibrated confidence, prediction sets,
    off-the-map scores. A text goes through the backbone once for all tasks, in `fit` and in `annotate`; a
    static backbone reads it once a task, which is as fast as looking it up. Where recipe auto chose another
    number of layers for one task than for another, `annotate` reads texts once for each number.

    Parameters
    ----------
    tasks : {task: column that holds its labels}.
    backbone, cache : as `Labeler`. With cache = False features are shared in memory all the same, for the
        time of a call.
    recipe : as `Labeler`, for all tasks, or {task: recipe}; one that trains the backbone is refused.
    descriptions, ordered, label_tree : as `Labeler`, by task.
    options : what else `Labeler` takes, for all tasks, but no ``budget``: recipe auto tries no recipes that
        train the backbone.

    Examples
    --------
    >>> from textlabel import MultiLabeler
    >>> labeler = MultiLabeler({"sentiment": "label", "topic": "section"}, backbone="all-MiniLM-L6-v2")
    >>> labeler.fit("reviews.csv").annotate("unlabeled.csv").save_to_disk("out")  # doctest: +SKIP
    """

    def __init__(
        self,
        tasks: Mapping[str, str],
        backbone: str | Path = DEFAULT_BACKBONE,
        recipe: str | Path | Recipe | Mapping[str, str | Path | Recipe] = "head",
        *,
        descriptions: Mapping[str, Mapping[str, str]] | None = None,
        ordered: Mapping[str, Sequence[str]] | None = None,
        label_tree: Mapping[str, Mapping[str, Any]] | None = None,
        cache: bool | str | Path = True,
        **options: Any,
    ) -> None:
        from textlabel.engine.shared_features import SharedFeatures

        self.tasks = task_folder.checked(tasks)
        refuse_taken(self.tasks, ())
        recipes = recipe if isinstance(recipe, Mapping) else dict.fromkeys(self.tasks, recipe)
        structure: dict[str, Mapping[str, Any]] = {
            "descriptions": descriptions or {},
            "ordered": ordered or {},
            "label_tree": label_tree or {},
        }
        for name, by_task in {**structure, "recipe": recipes}.items():
            self._check_tasks(name, by_task)
        if "budget" in options:
            raise RecipeError(
                "budget is time to train the backbone in, and several tasks share one that stays as it is: "
                "leave it out"
            )
        self._shared = SharedFeatures(cache)
        self.labelers: dict[str, Labeler] = {}
        for task in self.tasks:
            own: dict[str, Any] = {name: by_task.get(task) for name, by_task in structure.items()}
            labeler = Labeler(
                backbone, recipes.get(task, "head"), cache=self._shared, budget=0, **own, **options
            )
            _refuse_training(task, labeler.recipe)
            self.labelers[task] = labeler

    def fit(
        self,
        train: Source,
        unlabeled: Source | None = None,
        validation: Source | None = None,
        *,
        text_column: str | Sequence[str] = "text",
        label_separator: str | None = None,
        split: str | None = None,
        config: str | None = None,
        on_bad_row: str = "fail",
        checkpoint: str | Path | None = None,
        **loading: Any,
    ) -> MultiLabeler:
        """Learn each task from the rows that have a label of it, and return this labeler.

        Parameters
        ----------
        train : as `Labeler.fit`; null or a blank text as the label means that the row is not labeled for that
            task. Where a row may carry several classes, an empty list and "(none)" are labels: none of them.
        unlabeled, validation, text_column, on_bad_row, checkpoint : as `Labeler.fit`.
        label_separator : for those tasks whose rows may carry several classes.
        split, config, loading : further options of `textlabel.load_corpus` for the labeled rows.

        Raises
        ------
        CorpusError, RecipeError, BackboneError, TrainingError : the message names the task. What was learned
            before stays as it was, for every task.
        """
        from textlabel.corpus.load import read_rows

        _refuse_reject_file(loading)
        refuse_taken(self.tasks, self.tasks.values())
        reading: dict[str, Any] = {"text_column": text_column, "on_bad_row": on_bad_row}
        rows = read_rows(train, split=split, config=config, **reading)
        parts = self._labeled_of_each(rows)  # all are checked before one learns
        texts = None if unlabeled is None else read_rows(unlabeled, **reading)
        held = {} if validation is None else self._labeled_of_each(read_rows(validation, **reading))
        for task, part in parts.items():
            log.info("task %r: %d of %d rows have a label of it", task, len(part.table), len(rows.table))
        learned = {task: copy.copy(labeler) for task, labeler in self.labelers.items()}
        with self._shared.kept():
            for task, labeler in learned.items():
                with named(task):
                    labeler.fit(
                        parts[task],
                        texts,
                        held.get(task),
                        label_column=self.tasks[task],
                        label_separator=label_separator if self._kind(task) == "multi" else None,
                        checkpoint=None if checkpoint is None else Path(checkpoint) / task,
                        **reading,
                        **loading,
                    )
        self.labelers = learned
        return self

    def annotate(
        self,
        corpus: Source,
        *,
        text_column: str | Sequence[str] = "text",
        min_confidence: float | Mapping[str, float] | None = None,
        out_of_scope_rate: float | Mapping[str, float] = 0.0,
        back_off: Mapping[str, float] | None = None,
        correct_label_shift: bool = False,
        class_shares: Mapping[str, str | Mapping[str, float]] | None = None,
        **loading: Any,
    ) -> Dataset:
        """Return the corpus with the columns of all tasks, in input order.

        Parameters
        ----------
        corpus : as `Labeler.annotate`; every other column is carried through.
        min_confidence, out_of_scope_rate : as `Labeler.annotate`, for all tasks or by task.
        back_off : as `Labeler.annotate`, by task.
        correct_label_shift : as `Labeler.annotate`, for all tasks.
        class_shares : as `Labeler.annotate`, by task.
        loading : further options of `textlabel.load_corpus`.

        Returns
        -------
        Dataset of ``id``, ``text``, for each task what `Labeler.annotate` writes, with the task in front
        (``topic_label``, ``topic_confidence``, ...), and the carried columns.

        Raises
        ------
        CorpusError : a column of the corpus has the name of one that is written.
        """
        from datasets import concatenate_datasets

        from textlabel.corpus.load import load_corpus

        rows = load_corpus(corpus, text_column=text_column, **loading)
        refuse_taken(self.tasks, rows.column_names)
        for name, given in (("min_confidence", min_confidence), ("out_of_scope_rate", out_of_scope_rate)):
            self._check_tasks(name, given if isinstance(given, Mapping) else {})
        self._check_tasks("back_off", back_off or {})
        self._check_tasks("class_shares", class_shares or {})
        for task, stated in (class_shares or {}).items():
            with named(task):
                self.labelers[task].check_shares(stated, correct_label_shift)
        texts, parts = rows.select_columns(["id", "text"]), []
        with self._shared.kept():
            for task, labeler in self.labelers.items():
                with named(task):
                    made = labeler.annotate(
                        texts,
                        min_confidence=_of(min_confidence, task, None),
                        out_of_scope_rate=_of(out_of_scope_rate, task, 0.0),
                        back_off=(back_off or {}).get(task),
                        correct_label_shift=correct_label_shift,
                        class_shares=(class_shares or {}).get(task),
                    )
                parts.append(prefixed(made, task))
        carried = [name for name in rows.column_names if name not in ("id", "text")]
        written = [name for part in parts for name in part.column_names]
        both = concatenate_datasets([rows, *parts], axis=1)
        return both.select_columns(["id", "text", *written, *carried])

    def evaluate(
        self,
        rows: Source,
        *,
        text_column: str | Sequence[str] = "text",
        label_separator: str | None = None,
        split: str | None = None,
        config: str | None = None,
        on_bad_row: str = "fail",
        **loading: Any,
    ) -> dict[str, Evaluation]:
        """Return how well each task is labeled on rows with gold labels, of the rows that have one.

        Parameters
        ----------
        rows : as in `fit`, but rows that nothing was learned from.
        text_column, label_separator, split, config, on_bad_row, loading : as in `fit`.
        """
        from textlabel.corpus.load import load_corpus, read_rows

        _refuse_reject_file(loading)
        reading: dict[str, Any] = {"text_column": text_column, "on_bad_row": on_bad_row}
        read = read_rows(rows, split=split, config=config, **reading)
        gold = self._labeled_of_each(read)
        texts = load_corpus(read, **reading, **loading).select_columns(["id", "text"])
        labeled = self.annotate(texts)
        found = {}
        for task, labeler in self.labelers.items():
            with named(task):
                found[task] = labeler.evaluate(
                    of_task(labeled, task),
                    gold[task],
                    label_column=self.tasks[task],
                    label_separator=label_separator if labeler.schema.kind == "multi" else None,
                    **reading,
                    **loading,
                )
        return found

    def save(self, folder: str | Path, *, self_contained: bool = False) -> Path:
        """Write a folder with an ordinary model for each task, and return it.

        Each model is complete, and `Labeler` and every command take it by itself (``folder/topic``).

        Parameters
        ----------
        self_contained : as `Labeler.save`.

        Raises
        ------
        BundleError : something else is in the folder, or nothing was learned yet.
        """
        from textlabel.engine.process import accelerator
        from textlabel.models.bundle import replace_folder

        target = Path(folder)
        require_tasks(target)
        for labeler in self.labelers.values():
            _ = labeler.bundle  # fails before anything is written
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            made = temporary / "tasks"
            for task, labeler in self.labelers.items():
                labeler.save(made / task, self_contained=self_contained)
            if accelerator().is_main_process:
                task_folder.write(made, self.tasks)
                replace_folder(made, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        accelerator().wait_for_everyone()
        return target

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        backend: str = REFERENCE,
        cascade: bool = False,
        cache: bool | str | Path = True,
    ) -> MultiLabeler:
        """Return a labeler from a folder that `save` wrote; it gives the same labels."""
        found = cls(task_folder.read(folder), cache=cache)
        for task in found.tasks:
            with named(task):
                found.labelers[task] = Labeler.load(
                    Path(folder) / task, backend=backend, cascade=cascade, cache=found._shared
                )
        found._share_bodies()
        return found

    def forget_rows(self) -> MultiLabeler:
        """Drop what gives away features of training rows, of every task (`Labeler.forget_rows`)."""
        for labeler in self.labelers.values():
            labeler.forget_rows()
        return self

    def _kind(self, task: str) -> LabelKind:
        kinds = self.labelers[task].recipe.kinds
        kind: LabelKind = "score" if "score" in kinds else "multi" if "multi" in kinds else "single"
        return kind

    def _labeled_of_each(self, rows: Rows) -> dict[str, Rows]:
        """Return the rows that have a label of each task."""
        from textlabel.corpus.load import labeled_rows

        found = {}
        for task, column in self.tasks.items():
            with named(task):
                found[task] = labeled_rows(rows, column)
                if not len(found[task].table):
                    raise CorpusError(
                        f"none of {len(rows.table)} rows of {rows.files[0]} has a label in column "
                        f"{column!r}: name another column, or leave the task out"
                    )
        return found

    def _share_bodies(self) -> None:
        """Keep equal untouched bodies in memory once."""
        first: dict[str, Any] = {}
        for labeler in self.labelers.values():
            model = labeler.bundle.classifier
            if model.untouched and model.info.kind == "transformer":
                model.body = first.setdefault(model.info.sha256, model.body)

    def _check_tasks(self, what: str, by_task: Mapping[str, Any]) -> None:
        for task in by_task:
            if task not in self.tasks:
                raise RecipeError(f"{what}: unknown task {task!r}: {nearest(task, self.tasks)}")


def require_tasks(folder: Path) -> None:
    """Raise a `BundleError` if a folder holds anything else than a model for each of several tasks.

    The whole folder is replaced, so annotations and answers of people in it would be lost.
    """
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file; expected a folder to write into: choose another path")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names:
        return
    if not task_folder.are_in(folder):
        raise BundleError(f"{folder} exists and is no folder of tasks; choose another folder")
    own = task_folder.read(folder)
    if others := sorted(names - {task_folder.TASKS, *own}):
        raise BundleError(f"{folder / others[0]} is not of a model and would be lost: choose another folder")
    for task in own:
        if (folder / task).exists() and not _is_model(folder / task):
            raise BundleError(f"{folder / task} is not a model and would be lost: choose another folder")


def _is_model(folder: Path) -> bool:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # what annotate writes has a record of that name, too, which tells how many rows there are
    return isinstance(record, dict) and "rows" not in record and not (folder / ANSWERS).exists()


def _refuse_reject_file(loading: Mapping[str, Any]) -> None:
    if "reject_file" in loading:
        raise RecipeError("reject_file is of one task: leave it out, or mend the rows that are told")


def _of(given: float | Mapping[str, float] | None, task: str, default: Any) -> Any:
    return given.get(task, default) if isinstance(given, Mapping) else given


def _refuse_training(task: str, recipe: Recipe) -> None:
    if recipe.trains_body and recipe.features == "backbone":
        raise RecipeError(
            f"task {task!r}: recipe {recipe.name!r} trains the backbone, and several tasks share one. Train "
            "one on other labeled rows (`textlabel train-backbone --recipe multi_task`) and give it as the "
            "backbone, or fit each task by itself"
        )


@contextmanager
def named(task: str) -> Iterator[None]:
    """Say in an error which task it is about."""
    try:
        yield
    except TextlabelError as error:
        if str(error).startswith("task "):
            raise
        raise type(error)(f"task {task!r}: {error}") from error
