"""One JSON object a line: class names as text, types in the provenance record beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File
from textlabel.corpus.spool import as_dataset, spooled
from textlabel.export._folder import write_folder
from textlabel.export._text import plain, restored

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features

NAME = "jsonl"
FILE = "annotations.jsonl"

#: rows converted at a time
BATCH = 1000


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with ``annotations.jsonl`` (UTF-8), provenance record and card.

    JSON has no NaN or infinity: they become null. Equal rows give equal bytes.

    Raises
    ------
    ExportError : a column holds what text cannot, such as images.
    """
    converts = {name: plain(feature, name) for name, feature in dataset.features.items()}

    def rows(folder: Path) -> None:
        with (folder / FILE).open("w", encoding="utf-8", newline="\n") as lines:
            for batch in dataset.with_format(None).iter(BATCH):
                columns = [map(convert, batch[name]) for name, convert in converts.items()]
                for values in zip(*columns, strict=True):
                    held = dict(zip(converts, values, strict=True))
                    lines.write(json.dumps(held, ensure_ascii=False, allow_nan=False) + "\n")

    return write_folder(dataset, path, record, rows, FILE)


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/annotations.jsonl`` with the types of ``features``."""
    import pyarrow as pa

    return as_dataset(pa.concat_tables(spooled(_tables(path / FILE, features))), features)


def _tables(file: File, features: Features) -> Iterator[pa.Table]:
    """Yield the rows of a file, some at a time, the first time none."""
    from datasets import Dataset

    back = {name: restored(feature) for name, feature in features.items()}

    def table(lines: list[str]) -> pa.Table:
        rows = [json.loads(line) for line in lines]
        columns = {name: [convert(row[name]) for row in rows] for name, convert in back.items()}
        return Dataset.from_dict(columns, features=features).data.table

    yield table([])
    with file.open("rb") as raw:
        lines = TextIOWrapper(raw, encoding="utf-8", newline="\n")
        while some := list(islice(lines, BATCH)):
            yield table(some)
