"""The way back in: an output folder as a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from textlabel import tasks
from textlabel.corpus.remote import advice, is_url, place, reached, shown
from textlabel.errors import CorpusError, ExportError
from textlabel.export._folder import RECORD
from textlabel.export._tools import Answer
from textlabel.registry import load, plugins

if TYPE_CHECKING:
    from datasets import Dataset


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the provenance record of an output folder, which may be a URL.

    Raises
    ------
    CorpusError : there is none, or it is damaged.
    """
    file = place(path, CorpusError) / RECORD
    with _reached(path):
        try:
            with file.open("rb") as opened:
                content = opened.read()
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = f"; {advice(str(path))}" if is_url(path) else _of_tasks(path)
            raise CorpusError(
                f"{shown(str(path))}: no {RECORD} here; expected a folder that `textlabel annotate` "
                f"wrote{hint}"
            ) from error
    try:
        record: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise CorpusError(f"{file} is damaged ({error}); annotate again") from error
    return record


def read_annotations(path: str | Path) -> Dataset:
    """Return the annotated rows of an output folder of any format, with their types.

    Parameters
    ----------
    path : folder, or URL of one that fsspec knows; it is read where it is.

    Raises
    ------
    CorpusError : the folder holds no rows that textlabel wrote, or they are damaged.
    """
    import pyarrow as pa
    from datasets import Features

    folder, name = place(path, CorpusError), shown(str(path))
    features = read_record(path).get("features", {})
    for plugin in (load("export", name) for name in plugins("export")):
        file = getattr(plugin, "FILE", None)
        with _reached(path):
            if not file or not (folder / file).is_file():
                continue
            try:
                rows: Dataset = plugin.read(folder, Features.from_dict(features))
            except (ValueError, KeyError, pa.ArrowException) as error:
                raise CorpusError(f"{folder / file} is damaged ({error}); annotate again") from error
            return rows
    raise CorpusError(f"{name}: {RECORD} but no annotated rows here; expected a folder that `annotate` wrote")


def format_of(path: str | Path) -> str:
    """Return the format of an output folder on this machine.

    Raises
    ------
    CorpusError : the folder holds no rows that textlabel wrote.
    """
    for name in plugins("export"):
        file = getattr(load("export", name), "FILE", None)
        if file and (Path(path) / file).is_file():
            return name
    raise CorpusError(f"{path}: no annotated rows here; expected a folder that `annotate` wrote")


def tool_of(name: str) -> ModuleType:
    """Return the export plugin of a labeling tool, which has ``ask`` and ``answers``.

    Raises
    ------
    PluginError : no such plugin.
    ExportError : a format, but no tool's.
    """
    plugin = load("export", name)
    if not hasattr(plugin, "answers"):
        tools = [one for one in plugins("export") if hasattr(load("export", one), "answers")]
        raise ExportError(f"{name!r} is a format, but of no labeling tool; expected one of {tools}")
    return plugin


def answers_of(
    path: str | Path, tool: str, text_field: str = "text", label_field: str = "label"
) -> Iterator[Answer]:
    """Yield what people answered in a file that a labeling tool exported.

    Parameters
    ----------
    text_field, label_field : what the tool's project calls them.

    Raises
    ------
    PluginError : no such tool.
    ExportError : not such a file, told with row and field.
    """
    answers: Iterator[Answer] = tool_of(tool).answers(Path(path), text_field, label_field)
    return answers


def _of_tasks(path: str | Path) -> str:
    if not tasks.are_in(path):
        return ""
    found = " or ".join(str(Path(path) / task) for task in tasks.read(path))
    return f". It holds those of several tasks: take one, {found}"


def _reached(path: str | Path) -> AbstractContextManager[None]:
    return reached(str(path), CorpusError) if is_url(path) else nullcontext()
