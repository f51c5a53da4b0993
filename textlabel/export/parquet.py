"""One Parquet file, with class names and types in its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File
from textlabel.corpus.spool import as_dataset, parquet_pieces, spooled
from textlabel.export._folder import write_folder

if TYPE_CHECKING:
    from datasets import Dataset, Features

NAME = "parquet"
FILE = "annotations.parquet"


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with ``annotations.parquet``, provenance record and card."""
    return write_folder(dataset, path, record, lambda folder: dataset.to_parquet(folder / FILE), FILE)


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/annotations.parquet`` with the types of ``features``."""
    import pyarrow as pa

    # not Dataset.from_parquet: that keeps a copy in the user's cache
    return as_dataset(pa.concat_tables(spooled(parquet_pieces(path / FILE))), features)
