"""Datasets that `datasets.save_to_disk` wrote into a store: read where they are, piece by piece.

On a disk `datasets.load_from_disk` maps the files, which it would copy from a store first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import Remote, reached
from textlabel.corpus.spool import spooled
from textlabel.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

#: the files by which a saved dataset, and several in one folder, are known
STATE, SPLITS = "state.json", "dataset_dict.json"


def read_saved(folder: Remote) -> tuple[pa.Table, dict[str, Any]]:
    """Return the rows of a saved dataset and the type of each column.

    Raises
    ------
    CorpusError : it cannot be reached, or is damaged.
    """
    import datasets
    import pyarrow as pa

    with reached(folder.url, CorpusError):
        try:
            state, info = _json(folder / STATE), _json(folder / "dataset_info.json")
            features = datasets.Features.from_dict(info["features"])
            files = [folder / _inside(file["filename"]) for file in state["_data_files"]]
            table = pa.concat_tables(spooled(_pieces(files)))
            return table, dict(features)
        except (ValueError, KeyError, TypeError, pa.ArrowInvalid) as error:
            raise CorpusError(f"{folder}: cannot be read as a saved dataset: {error}") from error


def split_folders(folder: Remote) -> dict[str, Remote]:
    """Return the folder of each split of a saved `DatasetDict`.

    Raises
    ------
    CorpusError : it cannot be reached, or is damaged.
    """
    with reached(folder.url, CorpusError):
        try:
            return {split: folder / _inside(split) for split in _json(folder / SPLITS)["splits"]}
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{folder}: cannot be read as saved datasets: {error}") from error


def _json(file: Remote) -> Any:
    with file.open() as opened:
        return json.loads(opened.read())


def _inside(name: str) -> str:
    """Return a name that leads nowhere else."""
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is not a name")
    return name


def _pieces(files: list[Remote]) -> Iterator[pa.Table]:
    import pyarrow as pa

    for file in files:
        with file.open() as opened, pa.ipc.open_stream(opened) as reader:
            yield reader.schema.empty_table()
            for batch in reader:
                yield pa.Table.from_batches([batch])
