"""What a transfer report reads: labeled rows of a source, texts of a target, and gold rows to score by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

if TYPE_CHECKING:
    from datasets import Dataset

Rows = list[dict[str, str]]

#: value of a column that is empty
BLANK = "(blank)"


@dataclass(frozen=True)
class Gold:
    """Labeled rows of the target.

    Parameters
    ----------
    rows : id, text and label of each.
    slices : (n,) value of the column by which they are told apart; empty: there is none.
    left_out : rows whose text is in the source.
    """

    rows: Rows
    slices: tuple[str, ...]
    left_out: int

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """The label of each row."""
        return np.array([row["label"] for row in self.rows])


@dataclass(frozen=True)
class Corpora:
    """All that is read.

    Parameters
    ----------
    source : labeled rows.
    parts : (n,) part of the source that each is of; empty: parts are not told apart.
    target : texts without labels.
    gold : labeled rows of the target, which score and never train what is learned from the source.
    classes : of the source.
    """

    source: Rows
    parts: tuple[str, ...]
    target: Rows
    gold: Gold | None
    classes: tuple[str, ...]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """The share of each class among the labeled rows."""
        count = Counter(row["label"] for row in self.source)
        return np.array([count[name] / len(self.source) for name in self.classes])


def read_corpora(
    source: Any,
    target: Any,
    gold: Any | None,
    *,
    source_by: str = "",
    by: str = "",
    label_column: str = "label",
    reading: Mapping[str, Any],
) -> Corpora:
    """Return the corpora; gold rows whose text is in the source are left out.

    Parameters
    ----------
    reading : further options of `load_corpus`, for all of them.

    Raises
    ------
    CorpusError : rows that cannot be used, no such column, a label of gold that is no class of the source, or
        no gold row that is not in the source.
    """
    from textlabel.corpus.check import infer_schema
    from textlabel.corpus.load import load_corpus

    options: dict[str, Any] = {"id_column": False, **reading}  # two rows of one id are two texts
    labeled = load_corpus(source, label_column=label_column, **options)
    classes = infer_schema(labeled, "single").names
    parts = _values(labeled, source_by, label_column, "the source") if source_by else ()
    texts = load_corpus(target, **options)
    truth = None
    if gold is not None:
        found = load_corpus(gold, label_column=label_column, **options)
        values = _values(found, by, label_column, "the gold rows") if by else ()
        truth = _fresh(_rows(found), values, classes, {row["text"] for row in _rows(labeled)})
    return Corpora(_rows(labeled), parts, _rows(texts), truth, classes)


def _fresh(rows: Rows, values: Sequence[str], classes: Sequence[str], known: set[str]) -> Gold:
    """Return gold rows whose text is not among known ones."""
    from textlabel.corpus.dedup import text_key

    unknown = Counter(row["label"] for row in rows if row["label"] not in classes)
    if unknown:
        label, count = unknown.most_common(1)[0]
        raise CorpusError(
            f"gold: {count} rows are labeled {label!r}, which no row of the source is; expected "
            f"{', '.join(classes)}: give both the same names, or leave these rows out"
        )
    seen = {text_key(text) for text in known}
    kept = [i for i, row in enumerate(rows) if text_key(row["text"]) not in seen]
    if not kept:
        raise CorpusError(
            f"gold: all {len(rows)} texts are among the labeled rows of the source, which every variant "
            "learned; expected rows of the target that are not"
        )
    return Gold([rows[i] for i in kept], tuple(values[i] for i in kept if values), len(rows) - len(kept))


def _rows(dataset: Dataset) -> Rows:
    names = [name for name in ("id", "text", "label") if name in dataset.column_names]
    columns = [dataset[name][:] for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(dataset: Dataset, column: str, label_column: str, what: str) -> tuple[str, ...]:
    """Return the value of each row in a column, as text."""
    name = "label" if column == label_column else column
    if name not in dataset.column_names:
        there = ", ".join(one for one in dataset.column_names if one not in ("id", "text"))
        raise CorpusError(f"{what}: there is no column {column!r}; expected one of {there}")
    values = dataset[name][:]
    return tuple(BLANK if value is None or not str(value).strip() else str(value) for value in values)
