"""One JSON object a line: class names as text, types in the provenance record beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.export._folder import write_folder
from textlabel.export._text import plain, restored

if TYPE_CHECKING:
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


def read(path: Path, features: Features) -> Dataset:
    """Return the rows of ``path/annotations.jsonl`` with the types of ``features``."""
    from datasets import Dataset

    with (path / FILE).open(encoding="utf-8", newline="\n") as lines:
        rows = [json.loads(line) for line in lines]
    back = {name: restored(feature) for name, feature in features.items()}
    columns = {name: [convert(row[name]) for row in rows] for name, convert in back.items()}
    return Dataset.from_dict(columns, features=features)
