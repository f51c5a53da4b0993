"""The columns of several tasks in one corpus: those of each with its name in front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel import tasks
from textlabel.errors import CorpusError, RecipeError
from textlabel.registry import plugins
from textlabel.types import COLUMNS, NODE_COLUMNS

if TYPE_CHECKING:
    from datasets import Dataset

#: what may follow the name of a task in a column that we write
WRITTEN = (*COLUMNS[2:], *NODE_COLUMNS, "windows")


def refuse_taken(names: Iterable[str], columns: Iterable[str]) -> None:
    """Raise an error if two tasks, or a task and the corpus, would have a column of one name.

    Parameters
    ----------
    names : of the tasks.
    columns : of the corpus.

    Raises
    ------
    CorpusError, RecipeError
    """
    written: dict[str, str] = {}
    for task in names:
        for name in (f"{task}_{column}" for column in WRITTEN):
            if name in written:
                raise RecipeError(
                    f"tasks {written[name]!r} and {task!r} would both write a column {name!r}: rename one"
                )
            written[name] = task
    if taken := [name for name in columns if name in written]:
        raise CorpusError(
            f"the corpus has a column {taken[0]!r}, which task {written[taken[0]]!r} may write: rename "
            "the column or the task"
        )


def prefixed(made: Dataset, task: str) -> Dataset:
    """Return what a task wrote beside ``id`` and ``text``, with the task before each column's name."""
    ours = [name for name in made.column_names if name not in ("id", "text")]
    return made.select_columns(ours).rename_columns({name: f"{task}_{name}" for name in ours})


def of_task(labeled: Dataset, task: str) -> Dataset:
    """Return ``id``, ``text`` and the columns of one task, by their names in an ordinary annotated corpus."""
    ours = {f"{task}_{name}": name for name in WRITTEN if f"{task}_{name}" in labeled.column_names}
    return labeled.select_columns(["id", "text", *ours]).rename_columns(ours)


def _written(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what may be ours in an annotated corpus: a score by which it is ordered may have a column."""
    name = ((record.get("decided_by") or {}).get("order_by") or "").removeprefix("-")
    return (*WRITTEN, name) if name not in COLUMNS and name in plugins("score") else WRITTEN


def _require_same(first: Dataset, rows: Dataset, what: str) -> None:
    for name in ("id", "text"):
        expected, found = first[name][:], rows[name][:]
        if found != expected:
            pairs = enumerate(zip(expected, found, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(expected), len(found)))
            raise CorpusError(
                f"{what} has other rows than the first task: row {at} is not of the same {name}; annotate "
                "one corpus for all tasks"
            )


def joined(folder: str | Path) -> Dataset:
    """Return what `textlabel annotate` wrote for several tasks as one corpus, as `MultiLabeler` gives it.

    Raises
    ------
    BundleError : the folder is not of several tasks.
    CorpusError : tasks have other ids or texts than the first, or a carried column has the name of one of
        ours.

    Notes
    -----
    It differs from `MultiLabeler.annotate` where the corpus had columns with names of ours: each folder holds
    `confidence` as `input_confidence`, and `windows`, if no text was read in windows, counts as ours.
    """
    from datasets import concatenate_datasets

    from textlabel.export._read import read_annotations, read_record

    made = {task: read_annotations(Path(folder) / task) for task in tasks.read(folder)}
    first = next(iter(made.values()))
    parts, ours = [], {task: _written(read_record(Path(folder) / task)) for task in made}
    for task, rows in made.items():
        _require_same(first, rows, f"task {task!r} of {folder}")
        parts.append(prefixed(rows.select_columns([n for n in rows.column_names if n in ours[task]]), task))
    names = ours[next(iter(made))]
    carried = first.select_columns([name for name in first.column_names if name not in names])
    written = [name for part in parts for name in part.column_names]
    refuse_taken(made, carried.column_names)
    rest = [name for name in carried.column_names if name not in ("id", "text")]
    return concatenate_datasets([carried, *parts], axis=1).select_columns(["id", "text", *written, *rest])
