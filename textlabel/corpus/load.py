"""Any source of text to one shape: a `datasets.Dataset` of `id`, `text` and perhaps `label`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from textlabel.corpus.check import (
    SHEET_COLUMN,
    OnBadRow,
    Reject,
    Rejects,
    refuse_audit_sheet,
    repeated_ids,
    undecided,
    write_rejects,
)
from textlabel.corpus.columns import Column, class_lists, class_names, given_labels, row_ids, scores, texts
from textlabel.corpus.remote import is_url, shown
from textlabel.corpus.sources import Rows, read_source
from textlabel.corpus.spool import as_dataset, spans, spooled
from textlabel.errors import CorpusError, nearest
from textlabel.types import LabelKind

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

log = logging.getLogger("textlabel")

RESERVED = ("id", "text", "label")


def load_corpus(
    source: Any,
    *,
    text_column: str | Sequence[str] | None = "text",
    label_column: str | None = None,
    id_column: str | Literal[False] | None = None,
    label_kind: LabelKind = "single",
    label_separator: str | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    config: str | None = None,
    on_bad_row: OnBadRow = "fail",
    reject_file: str | Path | None = None,
) -> datasets.Dataset:
    """Return a corpus with the columns `id`, `text`, perhaps `label`, and every other input column.

    Parameters
    ----------
    source : a csv, tsv, jsonl (each perhaps .gz) or parquet file; a folder or glob of them, read in
        sorted order; a folder that `datasets` saved; a URL of these that fsspec knows
        (s3://bucket/rows.parquet, hf://datasets/user/name/rows.parquet); a Hub dataset id; a
        `datasets.Dataset`; a list of dicts; what `read_rows` returned.
    text_column : the column that holds the text, or several, joined by a newline where not blank;
        those several are also kept as columns. None: no text is wanted, as from a list of labels.
    label_column : the column that becomes `label`; without it there is no `label`.
    id_column : the column that becomes `id` (strings); by default a column `id` if there is one,
        else the row's position in the source, from "0" and counting bad rows too. False: the position in any
        case, where nothing needs ids to differ.
    label_kind : "single" makes class names of the labels, as strings; "score" float64. Rows of a to-do sheet
        that were answered by "unsure", "skip" or "none of these" have no label, and are left out. "multi":
        a row has a list of class names; an empty one means that none of the classes is right.
    label_separator : with "multi", what parts the class names in a text, as in csv: "|". An empty text, or
        "(none)", is an empty list then.
    classes : the class names allowed; by default any.
    split, config : which part of a Hub dataset, or of a saved `DatasetDict`, is meant.
    on_bad_row : "fail" stops at the first unusable row; "skip" leaves such rows out.
    reject_file : with "skip", written: one JSON object for each row left out.

    Returns
    -------
    Dataset in input order. Other columns are untouched, csv ones being strings; one that is named
    `id`, `text` or `label` without being meant as such is called `input_id` and so on.

    Raises
    ------
    CorpusError : the source, a column or a row is not usable; file, row and column are named.

    Examples
    --------
    >>> corpus = load_corpus([{"review": "Fine.", "stars": 4}], text_column="review")
    >>> corpus[0]
    {'id': '0', 'text': 'Fine.', 'stars': 4}
    """
    return load_with_rejects(
        source,
        text_column=text_column,
        label_column=label_column,
        id_column=id_column,
        label_kind=label_kind,
        label_separator=label_separator,
        classes=classes,
        split=split,
        config=config,
        on_bad_row=on_bad_row,
        reject_file=reject_file,
    )[0]


def load_with_rejects(
    source: Any,
    *,
    text_column: str | Sequence[str] | None = "text",
    label_column: str | None = None,
    id_column: str | Literal[False] | None = None,
    label_kind: LabelKind = "single",
    label_separator: str | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    config: str | None = None,
    on_bad_row: OnBadRow = "skip",
    reject_file: str | Path | None = None,
) -> tuple[datasets.Dataset, list[Reject]]:
    """Return the corpus of `load_corpus`, and the rows left out of it."""
    _one_of("on_bad_row", on_bad_row, get_args(OnBadRow))
    if reject_file is not None and is_url(reject_file):
        raise CorpusError(
            f"reject_file={shown(str(reject_file))!r} is a URL; expected a path on this machine"
        )
    _one_of("label_kind", label_kind, get_args(LabelKind))
    _check_separator(label_separator, label_kind)
    names = (text_column,) if isinstance(text_column, str) else tuple(text_column or ())
    if not names and text_column is not None:
        raise CorpusError("text_column names no column; expected one or more")
    rejects = Rejects(on_bad_row)
    rows = read_source(source, split, config, dict.fromkeys(names, "string"), rejects)
    refuse_audit_sheet(rows.table, str(source) if isinstance(source, str | Path) else "the rows")
    try:
        _require_one(len(rows.table), rows, rejects, label_column)
        if label_column is not None:
            rows = _decided(rows, label_column, classes or ())
        if id_column is None and "id" in rows.table.column_names:
            id_column = "id"
        named = None if id_column is False else id_column
        columns = {"id": row_ids(rows, named)}
        if names:
            columns["text"] = texts(rows, names)
        if label_column is not None:
            columns["label"] = _labels(rows, label_column, label_kind, classes, label_separator)
        good = _good_rows(rows, columns, rejects)
        _require_one(int(good.sum()), rows, rejects, label_column)
    finally:
        if on_bad_row == "skip" and reject_file is not None:
            write_rejects(rejects.rows, reject_file)
    spent = {named, label_column, *(names if len(names) == 1 else ())}
    _warn_of(rejects)
    return _dataset(rows, columns, spent, good), rejects.rows


def read_rows(
    source: Any,
    *,
    text_column: str | Sequence[str] = "text",
    split: str | None = None,
    config: str | None = None,
    on_bad_row: OnBadRow = "fail",
) -> Rows:
    """Return the rows of a source as they are there, read once for several calls of `load_corpus`.

    Parameters
    ----------
    source, text_column, split, config, on_bad_row : as `load_corpus`, which takes the rows for a source.
    """
    _one_of("on_bad_row", on_bad_row, get_args(OnBadRow))
    names = (text_column,) if isinstance(text_column, str) else tuple(text_column)
    rejects = Rejects(on_bad_row)
    rows = read_source(source, split, config, dict.fromkeys(names, "string"), rejects)
    _warn_of(rejects)
    return rows


def labeled_rows(rows: Rows, label_column: str) -> Rows:
    """Return those of some rows that have a label in a column: null and blank texts are none.

    Examples
    --------
    >>> rows = read_rows([{"text": "Fine.", "topic": ""}, {"text": "Late.", "topic": "delivery"}])
    >>> load_corpus(labeled_rows(rows, "topic"), label_column="topic")["id"][:]
    ['1']
    """
    return rows.take(given_labels(rows, label_column))


def _warn_of(rejects: Rejects) -> None:
    if rejects.rows:
        log.warning("%d unusable rows are left out; the first: %s", len(rejects.rows), rejects.rows[0])


def _one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise CorpusError(f"{option}={value!r} is unknown: {nearest(value, known)}")


def _check_separator(separator: str | None, kind: LabelKind) -> None:
    if separator is not None and (kind != "multi" or not separator):
        raise CorpusError(
            f"label_separator={separator!r}: expected one or more signs, and labels of kind 'multi', as "
            f"recipe 'multilabel' reads them; these are of kind {kind!r}"
        )


def _labels(
    rows: Rows, name: str, kind: LabelKind, classes: Sequence[str] | None, separator: str | None
) -> Column:
    if kind == "score":
        return scores(rows, name)
    if kind == "multi":
        return class_lists(rows, name, classes, separator)
    return class_names(rows, name, classes)


def _decided(rows: Rows, label_column: str, classes: Sequence[str]) -> Rows:
    """Return the rows without those of a to-do sheet on which nobody settled."""
    open_ = undecided(rows.table, label_column, classes)
    if open_.all():
        raise CorpusError(
            f"{rows.files[0]}: people were undecided about all {len(open_)} rows of this sheet, so there is "
            "no label in it; give one on which they settled"
        )
    if not open_.any():
        return rows
    words = Counter(str(word).strip() for word in rows.table.column(label_column).filter(open_).to_pylist())
    log.warning(
        "%d of %d rows are left out, on which people did not settle: %s. Where such a word is a class, empty "
        "the column %s in these rows",
        open_.sum(),
        len(open_),
        ", ".join(f"{count} x {word!r}" for word, count in words.most_common()),
        SHEET_COLUMN,
    )
    return rows.take(~open_)


def _require_one(usable: int, rows: Rows, rejects: Rejects, label_column: str | None) -> None:
    if usable:
        return
    if rejects.rows:
        raise CorpusError(
            f"no usable row is left, {len(rejects.rows)} were bad. The first: {rejects.rows[0]}"
        )
    labeled = "" if label_column is None else f" with a label in column {label_column!r}"
    raise CorpusError(f"{rows.files[0]}: expected rows{labeled}, found none; give others, or another column")


def _good_rows(rows: Rows, columns: dict[str, Column], rejects: Rejects) -> npt.NDArray[np.bool_]:
    """Return (n,) which rows are usable; the others go to ``rejects``."""
    import pyarrow as pa

    faults: dict[int, tuple[str, str]] = {}
    for column in reversed(columns.values()):
        faults |= {i: (column.source, problem) for i, problem in column.problems.items()}
    good = np.ones(len(rows.table), dtype=bool)
    good[list(faults)] = False
    sound, ids = np.flatnonzero(good), columns["id"]
    values = ids.values if good.all() else ids.values.filter(pa.array(good))
    for later, first in repeated_ids(values).items():
        faults[int(sound[later])] = (ids.source, f"repeats the id of {rows.place(int(sound[first]))}")
    rejects.add(rows.reject(i, *faults[i]) for i in sorted(faults))
    good[list(faults)] = False
    return good


def _dataset(
    rows: Rows, columns: dict[str, Column], spent: set[str | None], good: npt.NDArray[np.bool_]
) -> datasets.Dataset:
    import datasets
    import pyarrow as pa

    arrays = {name: column.values for name, column in columns.items()}
    schema = pa.schema([(name, array.type) for name, array in arrays.items()])
    features = dict(datasets.Features.from_arrow_schema(schema))
    carried = [name for name in rows.table.column_names if name not in spent]
    for name in carried:
        free = name if name not in RESERVED else f"input_{name}"
        while free != name and free in carried:
            free = f"input_{free}"
        arrays[free], features[free] = rows.table.column(name), rows.features[name]
    table = pa.table(arrays)
    return as_dataset(table if good.all() else _rows_of(table, good), datasets.Features(features))


def _rows_of(table: pa.Table, good: npt.NDArray[np.bool_]) -> pa.Table:
    import pyarrow as pa

    parts = (table[span].filter(pa.array(good[span])) for span in spans(len(table)))
    return pa.concat_tables(spooled(parts))
