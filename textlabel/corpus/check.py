"""What makes a row unusable, and how that is told.

The checks are pure functions of columns. Those of one column return ``{row: problem}`` with rows
counted from 0 in the column; an empty dictionary means that all is well.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from textlabel.corpus.spool import pieces
from textlabel.errors import CorpusError, nearest
from textlabel.types import IntArray, LabelKind, LabelSchema

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

log = logging.getLogger("textlabel")

OnBadRow = Literal["fail", "skip"]
Problems = dict[int, str]


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used.

    Parameters
    ----------
    file : the file, or what else the row came from.
    row : where a person finds it: the line it starts on, in a text file as an editor counts;
        elsewhere its number, from 1.
    column : the column at fault; None where the whole row is.
    problem : what is wrong with it.
    original : the row as it was read.
    """

    file: str
    row: int
    column: str | None
    problem: str
    original: Any

    def __str__(self) -> str:
        column = "" if self.column is None else f", column {self.column!r}"
        return f"{self.file}, row {self.row}{column}: {self.problem}"


@dataclass(frozen=True)
class Rejects:
    """Takes every bad row: the first one is an error (``"fail"``), or all are kept (``"skip"``)."""

    on_bad_row: OnBadRow
    rows: list[Reject] = field(default_factory=list)

    def add(self, rejects: Iterable[Reject]) -> None:
        """Keep ``rejects``, or raise a `CorpusError` that names the first of them."""
        if self.on_bad_row == "skip":
            self.rows.extend(rejects)
            return
        for reject in rejects:
            raise CorpusError(f"{reject}. Mend the row, or leave such rows out with on_bad_row='skip'")


def write_rejects(rejects: Sequence[Reject], path: str | Path) -> None:
    """Write one JSON object per rejected row: file, row, column, problem, original."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(reject), default=str) + "\n" for reject in rejects)
    target.write_text("".join(lines), encoding="utf-8")


def blank_values(column: pa.ChunkedArray, what: str) -> Problems:
    """Return the rows where a string column is null, empty or only white space.

    Examples
    --------
    >>> import pyarrow as pa
    >>> blank_values(pa.chunked_array([["fine", " ", None]]), "text")
    {1: 'the text is empty', 2: 'the text is missing'}
    """
    import pyarrow.compute as pc

    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    suspects = np.flatnonzero(pc.fill_null(blank, True).to_numpy())
    missing = column.is_null().to_numpy()
    return {int(i): f"the {what} is {'missing' if missing[i] else 'empty'}" for i in suspects}


def unknown_labels(labels: pa.ChunkedArray, names: Sequence[str]) -> Problems:
    """Return the rows whose label is none of ``names``; missing labels are left to `blank_values`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> unknown_labels(pa.chunked_array([["good", "godo", None]]), ["bad", "good"])
    {1: "unknown label 'godo': did you mean 'good'?"}
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.is_in(labels, value_set=pa.array(names, labels.type))
    rows = np.flatnonzero(pc.invert(pc.or_(known, labels.is_null())).to_numpy())
    words = ((int(i), labels[int(i)].as_py()) for i in rows)
    return {i: f"unknown label {word!r}: {nearest(word, names)}" for i, word in words}


def bad_class_lists(lists: pa.ChunkedArray, names: Sequence[str] | None = None) -> Problems:
    """Return the rows of a column of lists of class names that name none where one is due, twice, or unknown.

    Parameters
    ----------
    names : the classes allowed; None: any.

    Examples
    --------
    >>> import pyarrow as pa
    >>> bad_class_lists(pa.chunked_array([[["a"], [], None, ["a", "a"], ["b"]]]), ["a"])
    {2: 'the labels are missing', 3: "class 'a' is named twice", 4: "unknown label 'b': known: a"}
    """
    import pyarrow as pa

    known = None if names is None else set(names)
    found: Problems = {}
    first = 0
    for piece in pieces(pa.table({"label": lists})):
        for i, row in enumerate(piece.column("label").to_pylist(), first):
            if problem := _bad_classes(row, known):
                found[i] = problem
        first += len(piece)
    return found


def _bad_classes(row: list[str | None] | None, known: set[str] | None) -> str:
    """Return what is wrong with the class names of one row, "" if nothing is."""
    if row is None:
        return "the labels are missing"
    for place, name in enumerate(row):
        if name is None or not name.strip():
            return "a class name is empty"
        if name in row[:place]:
            return f"class {name!r} is named twice"
        if known is not None and name not in known:
            return f"unknown label {name!r}: {nearest(name, sorted(known))}"
    return ""


def bad_scores(scores: pa.ChunkedArray) -> Problems:
    """Return the rows of a float column that are missing, NaN or infinite.

    Examples
    --------
    >>> import pyarrow as pa
    >>> bad_scores(pa.chunked_array([[0.5, float("nan"), None]]))
    {1: 'expected a finite number, got nan', 2: 'the score is missing'}
    """
    import pyarrow.compute as pc

    rows = np.flatnonzero(pc.invert(pc.fill_null(pc.is_finite(scores), False)).to_numpy())
    values = ((int(i), scores[int(i)].as_py()) for i in rows)
    return {
        i: "the score is missing" if v is None else f"expected a finite number, got {v}" for i, v in values
    }


def repeated_ids(ids: pa.ChunkedArray) -> dict[int, int]:
    """Return ``{row: first row of the same id}`` for every row whose id an earlier row has.

    Examples
    --------
    >>> import pyarrow as pa
    >>> repeated_ids(pa.chunked_array([["a", "b", "a"]]))
    {2: 0}
    """
    import pyarrow as pa

    # numbers first, which are smaller than words; what is told is told by the words of the few rows left
    words = (piece.column("id").to_pylist() for piece in pieces(pa.table({"id": ids})))
    parts = (np.array([hash(word) for word in some], np.int64) for some in words)
    keys = np.concatenate([np.zeros(0, np.int64), *parts])
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return {}
    suspects = np.flatnonzero(np.isin(keys, twice))
    first: dict[str, int] = {}
    rows = zip(suspects.tolist(), ids.take(pa.array(suspects)).to_pylist(), strict=True)
    return {i: first[name] for i, name in rows if first.setdefault(name, i) != i}


#: column of the sheets on which people answer: the value says which sheet it is
SHEET_COLUMN = "textlabel_sheet"
#: column of audit answers that were released to training
RELEASED_COLUMN = "textlabel_released"
#: what people may write there instead of a label
UNDECIDED = ("unsure", "skip", "none of these")
#: what they write where rows may carry several classes, and this one carries none
NOTHING = "(none)"


def _sheets(marks: Iterable[str | None]) -> list[str]:
    """Return the sheet that each mark names, however it is written; "" for a row of none."""
    return [str(mark or "").strip().casefold() for mark in marks]


def refuse_audit_sheet(table: pa.Table, file: str) -> None:
    """Raise a `CorpusError` if a table is an audit sheet.

    Whoever learns from audit answers, or chooses a model by them, cannot be judged by them any more.
    """
    if SHEET_COLUMN not in table.column_names:
        return
    marks = table.column(SHEET_COLUMN).unique().to_pylist()
    if any(sheet.startswith("audit") for sheet in _sheets(marks)):
        raise CorpusError(
            f"{file}, column {SHEET_COLUMN!r}: this is an audit sheet; reading its answers elsewhere would "
            "void every certificate. Import them with `textlabel audit import`, or give them away with "
            "`textlabel audit release`"
        )


def undecided(table: pa.Table, label_column: str, classes: Iterable[str] = ()) -> npt.NDArray[np.bool_]:
    """Return (n,) which rows are of a to-do sheet and were answered by "unsure", "skip" or "none of these".

    Such a word is an answer where a class has that name: one of ``classes``, or without these a label of rows
    that are of no sheet. "?skip" is undecided whatever the classes.

    Examples
    --------
    >>> import pyarrow as pa
    >>> sheet = {"textlabel_sheet": ["todo/0", "todo/1", None], "label": ["skip", "unsure", "skip"]}
    >>> undecided(pa.table(sheet), "label").tolist()
    [False, True, False]
    """
    found = np.zeros(len(table), dtype=np.bool_)
    if not {SHEET_COLUMN, label_column} <= set(table.column_names):
        return found
    marks = _sheets(table.column(SHEET_COLUMN).to_pylist())
    words = [str(label).strip().casefold() for label in table.column(label_column).to_pylist()]
    known = {str(name).strip().casefold() for name in classes}
    known = known or {word for word, mark in zip(words, marks, strict=True) if not mark}
    for i, (word, mark) in enumerate(zip(words, marks, strict=True)):
        found[i] = bool(mark) and word not in known and word.removeprefix("?") in UNDECIDED
    return found


def rows_after_audit(dataset: datasets.Dataset) -> int:
    """Return how many labeled rows were picked with knowledge of an audit.

    Rows of a to-do list, released answers, and rows of a finished corpus that people labeled may be learned
    from; their number goes into the record, and bars the model from the answers of an earlier audit.
    """
    names = dataset.column_names
    if columns := [name for name in (SHEET_COLUMN, RELEASED_COLUMN) if name in names]:
        marks = zip(*(_sheets(dataset[name][:]) for name in columns), strict=True)
        return sum(map(any, marks))
    return dataset["source"][:].count("human") if {"source", "prediction_set"} <= {*names} else 0


def infer_schema(dataset: datasets.Dataset, label_kind: LabelKind) -> LabelSchema:
    """Return the schema of a loaded corpus: its class names sorted, or a score.

    Where a row may carry several classes, those are meant that some row carries.

    Raises
    ------
    CorpusError : there is no label column, no row, or only one class.
    """
    import pyarrow.compute as pc

    if "label" not in dataset.column_names:
        raise CorpusError(
            f"the corpus has no column 'label' but {dataset.column_names}; "
            "load it with label_column=... naming the column that holds the labels"
        )
    if label_kind == "score":
        return LabelSchema("score")
    column = dataset.select_columns("label").with_format("arrow")[:].column("label")
    given = pc.list_flatten(column) if label_kind == "multi" else column
    names = sorted(pc.unique(given).to_pylist())
    if len(names) < 2:
        raise CorpusError(
            f"column 'label' holds {len(names)} class{'' if names else 'es'} {names} in {len(column)} rows; "
            "expected at least two: add labeled rows of another class"
        )
    return LabelSchema(label_kind, tuple(names))


def require_rows_per_class(labels: IntArray, groups: IntArray, schema: LabelSchema) -> None:
    """Raise a `CorpusError` if a class of ``schema`` has fewer than two distinct texts.

    Parameters
    ----------
    labels : (n,) class numbers, or (n, k) 0 and 1, the classes that a row carries.
    groups : (n,) equal for equal texts, see `textlabel.corpus.dedup.groups`.

    Examples
    --------
    >>> schema = LabelSchema("single", ("bad", "good"))
    >>> require_rows_per_class(np.array([1, 0, 1]), np.arange(3), schema)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    textlabel.errors.CorpusError: class 'bad' has 1 row, expected 2 or more with different texts: ...
    """
    if labels.ndim == 2:
        carriers, labels = np.nonzero(labels)
        groups = groups[carriers]
    pairs = np.unique(np.stack([labels, groups]), axis=1)[0]
    rows, texts = (np.bincount(of, minlength=len(schema.names)) for of in (labels, pairs))
    few = np.flatnonzero(texts < 2)
    if not len(few):
        return
    name, count = schema.names[few[0]], int(rows[few[0]])
    more = f"; {len(few)} classes have too few" if len(few) > 1 else ""
    raise CorpusError(
        f"class {name!r} has {count} row{'' if count == 1 else 's'}, expected 2 or more with different "
        f"texts: one to learn from, one to be judged by{more}. Label more rows of it, or leave the class out"
    )
