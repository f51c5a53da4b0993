"""The way back in: an output folder as a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.errors import CorpusError
from textlabel.export._folder import RECORD
from textlabel.registry import load, plugins

if TYPE_CHECKING:
    from datasets import Dataset


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the provenance record of an output folder.

    Raises
    ------
    CorpusError : there is none, or it is damaged.
    """
    file = Path(path) / RECORD
    if not file.is_file():
        raise CorpusError(f"{path}: no {RECORD} here; expected a folder that `textlabel annotate` wrote")
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorpusError(f"{file} is damaged ({error}); annotate again") from error
    return record


def read_annotations(path: str | Path) -> Dataset:
    """Return the annotated rows of an output folder of any format, with their types.

    Raises
    ------
    CorpusError : the folder holds no rows that textlabel wrote, or they are damaged.
    """
    import pyarrow as pa
    from datasets import Features

    folder = Path(path)
    features = read_record(folder).get("features", {})
    for plugin in (load("export", name) for name in plugins("export")):
        file = getattr(plugin, "FILE", None)
        if not file or not (folder / file).is_file():
            continue
        try:
            rows: Dataset = plugin.read(folder, Features.from_dict(features))
        except (ValueError, KeyError, pa.ArrowException) as error:
            raise CorpusError(f"{folder / file} is damaged ({error}); annotate again") from error
        return rows
    raise CorpusError(
        f"{folder}: {RECORD} but no annotated rows here; expected a folder that `annotate` wrote"
    )
