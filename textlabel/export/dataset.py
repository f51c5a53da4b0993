"""A saved `datasets.Dataset` folder, for `datasets.load_from_disk`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File, Remote
from textlabel.corpus.saved import STATE, read_saved
from textlabel.corpus.spool import as_dataset
from textlabel.export._folder import write_folder

if TYPE_CHECKING:
    from datasets import Dataset, Features

NAME = "dataset"
FILE = STATE  # the file by which a saved dataset is known


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a saved dataset with its provenance record and card."""
    # without this, no rows would be no file, which cannot be loaded
    shards = None if len(dataset) else 1
    return write_folder(dataset, path, record, lambda folder: dataset.save_to_disk(folder, num_shards=shards))


def read(path: File, features: Features) -> Dataset:
    """Return the rows saved in ``path``, which know their own types."""
    from datasets import Dataset, Features

    if isinstance(path, Remote):
        table, types = read_saved(path)
        return as_dataset(table, Features(types))
    return Dataset.load_from_disk(path)
