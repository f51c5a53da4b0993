"""One CSV file for spreadsheets and scripts.

``probabilities`` become one column per class, ``probability_CLASS``; the classes of a ``prediction_set``, and
of a ``label`` of several, are joined by ``|``; other lists and structures JSON. Text is quoted and numbers
are not; an empty cell without quotes is a missing value, ``""`` an empty text.

A text that starts with ``=``, ``+``, ``-`` or ``@`` is written as it is, because it is data: a spreadsheet
may take it for a formula, so open files of untrusted texts there by importing the columns as text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File
from textlabel.corpus.spool import as_dataset, pieces, spans, spooled
from textlabel.errors import ExportError
from textlabel.export._folder import write_folder
from textlabel.export._text import Convert, plain, restored
from textlabel.types import class_names_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features

NAME = "csv"
FILE = "annotations.csv"

#: separates the classes of a prediction set, and of a label of several
SEPARATOR = "|"
#: bytes read at a time; more where a row needs them, up to the most
BLOCK, MOST = 1 << 22, 1 << 26


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with ``annotations.csv`` (UTF-8), provenance record and card.

    Raises
    ------
    ExportError : a column holds what text cannot; two columns would have one name; a class name
        would be lost in a joined prediction set.
    """
    return write_folder(dataset, path, record, lambda folder: _write_rows(dataset, folder / FILE), FILE)


def _write_rows(dataset: Dataset, file: Path) -> None:
    from pyarrow import csv as arrow_csv

    with arrow_csv.CSVWriter(file, _table(dataset.select(range(0))).schema) as writer:
        for span in spans(len(dataset)):
            writer.write_table(_table(dataset.select(range(span.start, span.stop))))


def _table(dataset: Dataset) -> pa.Table:
    """Return what the csv has for some rows."""
    import pyarrow as pa

    rows = dataset.with_format("arrow")[:]
    pairs = [pair for name in dataset.column_names for pair in _cells(dataset, rows, name)]
    count = Counter(name for name, _ in pairs)
    if twice := [name for name in count if count[name] > 1]:
        raise ExportError(f"columns {twice} would occur twice in the csv; rename those of the input")
    return pa.Table.from_arrays([values for _, values in pairs], names=list(count))


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/annotations.csv`` with the types of ``features``."""
    import pyarrow as pa

    block = BLOCK
    while True:
        try:
            return as_dataset(pa.concat_tables(spooled(_tables(path / FILE, features, block))), features)
        except pa.ArrowInvalid:  # perhaps a row is longer, which is told in several ways
            if block >= MOST:
                raise
            block = min(8 * block, MOST)


def _tables(file: File, features: Features, block: int) -> Iterator[pa.Table]:
    """Yield the rows of a file, some at a time, the first time none."""
    import pyarrow as pa
    from datasets import Dataset
    from pyarrow import csv as arrow_csv

    def table(cells: pa.Table) -> pa.Table:
        columns = {name: cells.column(name).to_pylist() for name in cells.column_names}
        rows = {name: _values(columns, features, name) for name in features}
        return Dataset.from_dict(rows, features=features).data.table

    types = {name: pa.string() for name in features}
    types |= {name: feature.pa_type for name, feature in features.items() if _kind(features, name) == "value"}
    types |= {_per_class(name): features["probabilities"].feature.pa_type for name in _classes(features)}
    with (
        file.open("rb") as raw,
        arrow_csv.open_csv(
            raw,
            read_options=arrow_csv.ReadOptions(block_size=block),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ) as reader,
    ):
        yield table(reader.schema.empty_table())
        for batch in reader:
            for piece in pieces(pa.Table.from_batches([batch])):
                yield table(piece)


# --- one column of the dataset, and what the csv has for it ---------------------------------------


def _classes(features: Features) -> list[str]:
    """Return the class names that ``probabilities`` have one column each for; none where there are none."""
    names = list(class_names_of(features.get("label")))
    return names if "probabilities" in features else []


def _per_class(name: str) -> str:
    return f"probability_{name}"


def _kind(features: Features, name: str) -> str:
    """Return how a column is held: "value", "name", "per class", "joined" or "json"."""
    from datasets import ClassLabel, Value

    feature = features[name]
    if isinstance(feature, ClassLabel):
        return "name"
    if isinstance(feature, Value):
        return "value"
    if name == "probabilities" and _classes(features):
        return "per class"
    item = getattr(getattr(feature, "feature", None), "dtype", None)
    of_classes = class_names_of(feature) if name == "label" else name == "prediction_set" and item == "string"
    return "joined" if of_classes else "json"


def _cells(dataset: Dataset, rows: pa.Table, name: str) -> Iterator[tuple[str, pa.Array]]:
    """Yield the csv columns, name and values, that hold one column of the dataset."""
    import pyarrow as pa

    feature, kind = dataset.features[name], _kind(dataset.features, name)
    held = plain(feature, name)
    if kind == "value":
        yield name, rows.column(name)
        return
    values = dataset.with_format(None)[name][:]
    if kind == "per class":
        for column, cells in _spread(values, _classes(dataset.features)):
            yield column, pa.array(cells, feature.feature.pa_type)
        return
    to_cell: dict[str, Convert] = {
        "name": held,
        "joined": lambda value: _join(held(value)),
        "json": lambda value: json.dumps(held(value), ensure_ascii=False),
    }
    cells = [None if value is None else to_cell[kind](value) for value in values]
    yield name, pa.array(cells, pa.string())


def _spread(rows: list[list[float] | None], classes: list[str]) -> Iterator[tuple[str, list[float | None]]]:
    """Yield each class's column of probabilities; a row without any is missing in all of them."""
    if bad := [row for row in rows if row and len(row) != len(classes)]:
        raise ExportError(
            f"expected {len(classes)} probabilities a row, one per class {classes}; got {bad[0]}"
        )
    for c, name in enumerate(classes):
        yield _per_class(name), [row[c] if row else None for row in rows]


def _join(names: list[str]) -> str:
    check_joined(names)
    return SEPARATOR.join(names)


def check_joined(names: Iterable[str]) -> None:
    """Raise an `ExportError` where classes that are joined could not be told apart."""
    if bad := [name for name in names if not name or SEPARATOR in name]:
        raise ExportError(
            f"class {bad[0]!r} would be lost among classes joined by {SEPARATOR!r}: use format 'jsonl'"
        )


def _values(columns: Mapping[str, list[Any]], features: Features, name: str) -> list[Any]:
    """Return one column of the dataset from the csv columns that hold it."""
    kind = _kind(features, name)
    if kind == "per class":
        spread = zip(*(columns[_per_class(c)] for c in _classes(features)), strict=True)
        return [None if row[0] is None else list(row) for row in spread]
    if kind in ("value", "name"):
        return columns[name]
    back = restored(features[name])
    from_cell: dict[str, Convert] = {
        "joined": lambda text: text.split(SEPARATOR) if text else [],
        "json": lambda text: back(json.loads(text)),
    }
    return [None if cell is None else from_cell[kind](cell) for cell in columns[name]]
