"""Columns of an input to `id`, `text` and `label`, with what is wrong in which row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel.corpus.check import (
    NOTHING,
    Problems,
    bad_class_lists,
    bad_scores,
    blank_values,
    unknown_labels,
)
from textlabel.corpus.sources import Rows
from textlabel.corpus.spool import piecewise
from textlabel.errors import CorpusError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

#: a number as files write it; narrower than ``float()``, which also takes "1_000" and "nan"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


class Column(NamedTuple):
    """Converted values, the input column they are from, and the rows where that failed."""

    values: pa.ChunkedArray
    source: str
    problems: Problems


def texts(rows: Rows, names: Sequence[str]) -> Column:
    """Return the text: one string column, or several joined by newlines where they are not blank."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [_find(rows, name, "text_column") for name in names]
    for name, column in zip(names, found, strict=True):
        if not (_is_text(column.type) or pa.types.is_null(column.type)):
            first = rows.reject(0, name, f"expected a string, got {column[0].as_py()!r}")
            raise CorpusError(f"{first}. The whole column is {column.type}; choose another text_column")
    strings = [_strings(column) for column in found]
    if len(strings) == 1:
        return Column(strings[0], names[0], blank_values(strings[0], "text"))

    def below(piece: pa.Table) -> Any:
        blank = [pc.equal(pc.utf8_trim_whitespace(s), "") for s in piece.columns]
        return reduce(_below, [pc.if_else(b, None, s) for b, s in zip(blank, piece.columns, strict=True)])

    joined = piecewise(pa.Table.from_arrays(strings, [str(i) for i in range(len(strings))]), below)
    return Column(joined, " + ".join(names), blank_values(joined, "text"))


def class_names(rows: Rows, name: str, classes: Sequence[str] | None) -> Column:
    """Return class labels as strings: names of a ClassLabel, integers written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _find(rows, name, "label_column")
    names = getattr(rows.features[name], "names", None)
    if names is not None:
        codes = pc.if_else(pc.greater_equal(column, 0), column, None)  # -1 is how datasets say "no label"
        labels = pc.take(pa.array(names, pa.string()), codes)
    elif pa.types.is_floating(column.type):
        labels = _whole_numbers(rows, name, column).cast(pa.string())
    elif _is_text(column.type) or _is_any(column.type, "integer", "boolean", "null"):
        labels = column.cast(pa.string())
    else:
        raise CorpusError(
            f"{rows.files[0]}, column {name!r}: expected one class name a row, got {column.type}; "
            "choose another label_column, or use recipe 'multilabel' for several classes a row"
        )
    problems = {} if classes is None else unknown_labels(labels, classes)
    return Column(labels, name, problems | blank_values(labels, "label"))


def given_labels(rows: Rows, name: str) -> npt.NDArray[np.bool_]:
    """Return (n,) which rows have a label in a column: null and blank texts are none.

    Where a row may carry several classes, an empty list and "(none)" are labels: none of the classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _find(rows, name, "label_column")
    given = column.is_valid()
    if _is_text(column.type):
        given = pc.and_(given, pc.not_equal(pc.utf8_trim_whitespace(column), ""))
    elif pa.types.is_floating(column.type):
        given = pc.and_(given, pc.invert(pc.is_nan(column)))
    elif getattr(rows.features[name], "names", None) is not None:
        given = pc.and_(given, pc.greater_equal(column, 0))  # -1 is how datasets say "no label"
    found: npt.NDArray[np.bool_] = pc.fill_null(given, False).to_numpy()
    return found


def class_lists(rows: Rows, name: str, classes: Sequence[str] | None, separator: str | None) -> Column:
    """Return the class names of each row as lists of strings, which may be empty: the row is of no class.

    Parameters
    ----------
    separator : parts the names in a text; a text without any is an empty list. None: the column holds lists.
    """
    import pyarrow as pa

    column = _find(rows, name, "label_column")
    if separator is not None and _is_text(column.type):
        lists = piecewise(
            pa.table({"given": column}), lambda piece: _parted(piece.column("given"), separator)
        )
        return Column(lists, name, bad_class_lists(lists, classes))
    inside = getattr(column.type, "value_type", None)
    if pa.types.is_null(column.type):
        lists = column.cast(pa.list_(pa.string()))
    elif inside is not None and (_is_text(inside) or _is_any(inside, "integer", "boolean", "null")):
        names = getattr(getattr(rows.features[name], "feature", None), "names", None)
        lists = piecewise(pa.table({"given": column}), lambda piece: _named(piece.column("given"), names))
    else:
        hint = ": parted by what? (label_separator, such as '|')" if _is_text(column.type) else ""
        raise CorpusError(
            f"{rows.files[0]}, column {name!r}: expected a list of class names a row, got "
            f"{column.type}{hint}; choose another label_column, or a recipe for one label a row"
        )
    return Column(lists, name, bad_class_lists(lists, classes))


def _parted(words: pa.ChunkedArray, separator: str) -> pa.Array:
    """Return texts as lists of their parts, without white space around them; "(none)" is an empty list."""
    import pyarrow as pa

    def parts(text: str | None) -> list[str] | None:
        if text is None:
            return None
        nothing = text.strip().casefold() in ("", NOTHING)
        return [] if nothing else [part.strip() for part in text.split(separator)]

    return pa.array(list(map(parts, words.to_pylist())), pa.list_(pa.string()))


def _named(lists: pa.ChunkedArray, names: Sequence[str] | None) -> pa.Array:
    """Return lists of strings of lists of anything, of class numbers where these have names."""
    import pyarrow as pa

    rows = lists.to_pylist()
    if names is not None:
        rows = [
            None if row is None else [names[c] if c is not None and c >= 0 else None for c in row]
            for row in rows
        ]
        return pa.array(rows, pa.list_(pa.string()))
    return pa.chunked_array(
        [chunk.cast(pa.list_(pa.string())) for chunk in lists.chunks], pa.list_(pa.string())
    )


def scores(rows: Rows, name: str) -> Column:
    """Return real-valued labels as float64; strings are parsed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _find(rows, name, "label_column")
    if _is_any(column.type, "integer", "floating", "boolean", "decimal", "null"):
        values = column.cast(pa.float64(), safe=False)
        return Column(values, name, bad_scores(values))
    if not _is_text(column.type):
        raise CorpusError(
            f"{rows.files[0]}, column {name!r}: expected numbers, got {column.type}; "
            "choose another label_column"
        )
    words = pc.utf8_trim_whitespace(column.cast(pa.string()))
    number = pc.match_substring_regex(words, NUMBER)
    values = pc.if_else(number, words, None).cast(pa.float64())
    problems = bad_scores(values)
    for i in np.flatnonzero(pc.invert(pc.fill_null(number, True)).to_numpy()).tolist():
        word = words[i].as_py()
        problems[i] = f"expected a number, got {word!r}" if word else "the score is missing"
    return Column(values, name, problems)


def row_ids(rows: Rows, name: str | None) -> Column:
    """Return row ids as strings: those of column ``name``, or else the row's position in the source."""
    import pyarrow as pa

    if name is None:
        return Column(_strings(pa.chunked_array([rows.ordinal])), "id", {})
    column = _find(rows, name, "id_column")
    if not (_is_text(column.type) or _is_any(column.type, "integer", "null")):
        raise CorpusError(
            f"{rows.files[0]}, column {name!r}: expected strings or integers, got {column.type}; "
            "name another column with id_column"
        )
    ids = _strings(column)
    return Column(ids, name, blank_values(ids, "id"))


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == pa.string():
        return column
    return piecewise(pa.table({"made": column}), lambda piece: piece.column("made").cast(pa.string()))


def _below(upper: pa.ChunkedArray, lower: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ``upper``, a newline and ``lower``; only one of them where the other is null."""
    import pyarrow.compute as pc

    return pc.coalesce(pc.binary_join_element_wise(upper, lower, "\n"), upper, lower)


def _find(rows: Rows, name: str, option: str) -> pa.ChunkedArray:
    columns = rows.table.column_names
    if name not in columns:
        raise CorpusError(
            f"{rows.files[0]}: there is no column {name!r} ({option}): {nearest(name, columns)}; "
            f"the columns are {', '.join(map(repr, columns))}"
        )
    return rows.table.column(name)


def _is_any(dtype: pa.DataType, *kinds: str) -> bool:
    import pyarrow as pa

    return any(getattr(pa.types, f"is_{kind}")(dtype) for kind in kinds)


def _is_text(dtype: pa.DataType) -> bool:
    return _is_any(dtype, "string", "large_string", "string_view")


def _whole_numbers(rows: Rows, name: str, column: pa.ChunkedArray) -> Any:
    """Return integers that came as floats, as they do from pandas beside missing values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = pc.if_else(pc.is_nan(column), None, column)
    fractional = pc.fill_null(pc.not_equal(pc.floor(numbers), numbers), False).to_numpy()
    if fractional.any():
        first = int(fractional.argmax())
        bad = rows.reject(first, name, f"expected a class, got the number {column[first].as_py()}")
        raise CorpusError(f"{bad}. For real-valued labels use label_kind='score'")
    return numbers.cast(pa.int64())
