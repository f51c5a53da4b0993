"""What files for labeling tools share: one JSON object a text, and what people answered to it.

A tool's file holds every column of a row, as JSON, in a place that the tool leaves alone, so that it can be
read back as annotations. A blind file, for audits, holds only what is asked and where it belongs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File
from textlabel.corpus.spool import as_dataset, spooled
from textlabel.errors import ExportError
from textlabel.export._folder import write_folder
from textlabel.export._text import plain, restored
from textlabel.types import class_names_of, kind_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, Features

#: rows converted at a time
BATCH = 1000
#: key of the whole row, where a tool has no place of its own for further columns
ROW = "row"


@dataclass(frozen=True)
class Task:
    """What people answer: one class ("single"), several or none ("multi"), or a number ("score")."""

    kind: str
    names: tuple[str, ...]
    agent: str = "textlabel"


@dataclass(frozen=True)
class Item:
    """One text for people.

    Parameters
    ----------
    row : what the file gives back, as JSON: ``id``, ``text``, and the other columns if it is not blind.
    labels : names of the classes, or the score in a list of one, that the model says; None: not told.
    score : the model's confidence in it.
    blind : whether ``row`` is one of a sheet, not of annotations.
    """

    row: Mapping[str, Any]
    labels: list[Any] | None = None
    score: float | None = None
    blind: bool = True

    @property
    def id(self) -> str:
        """Id as text."""
        return "" if self.row.get("id") is None else str(self.row["id"])

    @property
    def text(self) -> str:
        """The text; empty where the rows have none."""
        return str(self.row.get("text") or "")


@dataclass(frozen=True)
class Answer:
    """What one person answered to one text.

    Parameters
    ----------
    where : place in the file, for messages.
    labels : names of the classes (or the number in a list of one); None: no answer yet.
    state : "skip" or "unsure" where the person did not decide.
    keys : ``id``, ``textlabel_sheet`` and others that the file gave back.
    """

    where: str
    text: str
    labels: list[Any] | None = None
    state: str = ""
    reviewer: str = ""
    note: str = ""
    keys: Mapping[str, Any] = field(default_factory=dict)


Encode = Callable[[Item, Task], dict[str, Any]]
Extras = Callable[[Task], Mapping[str, str]]


def task_of(features: Features, record: Mapping[str, Any]) -> Task:
    """Return what people answer for annotations of these types."""
    label = features.get("label")
    return Task(kind_of(label), tuple(class_names_of(label)), _agent(record))


def _agent(record: Mapping[str, Any]) -> str:
    name = record.get("backbone", {}).get("name", "")
    return f"textlabel {record.get('textlabel', '')} {name}".strip()


def write_annotations(
    dataset: Dataset, path: Path, record: dict[str, Any], file: str, encode: Encode, extras: Extras
) -> Path:
    """Return ``path``, now a folder with the rows as a tool reads them, and what else it needs."""
    task = task_of(dataset.features, record)

    def rows(folder: Path) -> None:
        write_items(folder / file, items(dataset, task), task, encode)
        _write_extras(folder, extras(task))

    return write_folder(dataset, path, record, rows, file)


def write_questions(
    sheet: Iterable[Mapping[str, Any]], path: Path, task: Task, file: str, encode: Encode, extras: Extras
) -> Path:
    """Return ``path``, now a folder with the rows of a sheet as a tool reads them, without any model's label.

    Raises
    ------
    ExportError : ``path`` is there already, perhaps with answers, or cannot be written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True)
        write_items(path / file, (Item(row) for row in sheet), task, encode)
        _write_extras(path, extras(task))
    except FileExistsError:
        raise ExportError(f"{path} is there already: choose another folder") from None
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({error})") from None
    return path


def _write_extras(folder: Path, extras: Mapping[str, str]) -> None:
    for name, content in extras.items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")


def items(dataset: Dataset, task: Task) -> Iterator[Item]:
    """Yield annotated rows with the model's label."""
    converts = {name: plain(feature, name) for name, feature in dataset.features.items()}
    for batch in dataset.with_format(None).iter(BATCH):
        columns = [map(convert, batch[name]) for name, convert in converts.items()]
        for values in zip(*columns, strict=True):
            row = dict(zip(converts, values, strict=True))
            yield Item(row, _labels(row.get("label"), task), row.get("confidence"), blind=False)


def _labels(label: Any, task: Task) -> list[Any] | None:
    if label is None or task.kind == "multi":
        return None if label is None else list(label)
    return [label]


def write_items(path: Path, found: Iterable[Item], task: Task, encode: Encode) -> None:
    """Write one JSON object a line: bare for .jsonl, as the members of one array for .json."""
    array = path.suffix == ".json"
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        lines.write("[" if array else "")
        for number, item in enumerate(found):
            comma = "," if array and number else ""
            end = "" if array else "\n"
            held = json.dumps(encode(item, task), ensure_ascii=False, allow_nan=False)
            lines.write(comma + ("\n" if array else "") + held + end)
        lines.write("\n]\n" if array else "")


def read_annotations(
    path: File, features: Features, file: str, row: Callable[[Any], Mapping[str, Any]]
) -> Dataset:
    """Return the rows of a file that `write_annotations` wrote, with the types of ``features``.

    Parameters
    ----------
    row : gives the whole row that a tool's object holds.
    """
    import pyarrow as pa

    return as_dataset(pa.concat_tables(spooled(_tables(path / file, features, row))), features)


def _tables(file: File, features: Features, row: Callable[[Any], Mapping[str, Any]]) -> Iterator[pa.Table]:
    """Yield the rows of a file, some at a time, the first time none."""
    from datasets import Dataset

    back = {name: restored(feature) for name, feature in features.items()}

    def table(found: list[Mapping[str, Any]]) -> pa.Table:
        columns = {name: [convert(one[name]) for one in found] for name, convert in back.items()}
        return Dataset.from_dict(columns, features=features).data.table

    yield table([])
    with file.open("rb") as raw, TextIOWrapper(raw, encoding="utf-8", newline="\n") as lines:
        found = _own_lines(lines, file.name.endswith(".json"))
        while some := list(islice(found, BATCH)):
            yield table([row(one) for one in some])


def _own_lines(lines: Iterable[str], array: bool) -> Iterator[Any]:
    """Yield the objects of a file in the layout of `write_items`; a ValueError where it was cut."""
    last = ""
    for number, line in enumerate(lines):
        last = line
        if array and line.strip() in ("[", "]") and (number == 0 or line.strip() == "]"):
            continue
        yield json.loads(line.rstrip().removesuffix(",") if array else line)
    if array and last.strip() != "]":
        raise ValueError("its end is missing")


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield place and content of each object that a tool exported: a JSON array, or JSON lines.

    Raises
    ------
    ExportError : the file cannot be read, or holds anything else.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(
            f"{path}: cannot be read ({error}); expected the JSON that the tool exports"
        ) from None
    if text.lstrip()[:1] == "[":
        pairs = enumerate(_parsed(path, "", text), 1)
        found: Iterable[tuple[str, Any]] = ((f"row {number}", one) for number, one in pairs)
    else:
        lines = enumerate(text.split("\n"), 1)  # no other line end: texts may hold them
        found = ((f"line {n}", _parsed(path, f", line {n}", line)) for n, line in lines if line.strip())
    for where, one in found:
        if not isinstance(one, dict):
            raise ExportError(f"{path}, {where}: expected a JSON object, got {str(one)[:40]!r}")
        yield where, one


def _parsed(path: Path, where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ExportError(
            f"{path}{where}: not JSON ({error}); expected the file that the tool exports, unpacked"
        ) from None


def need(path: Path, where: str, found: Mapping[str, Any], name: str, kind: type, what: str) -> Any:
    """Return a field of a tool's object; an ExportError that names file, row and field if it is unfit."""
    value = found.get(name)
    if not isinstance(value, kind):
        raise ExportError(f"{path}, {where}, field {name!r}: expected {what}, got {str(value)[:40]!r}")
    return value


def check_field(path: Path, where: str, wanted: str, there: Iterable[str]) -> None:
    """Raise an ExportError where people answered, but not what is asked for: the field has another name."""
    found = sorted(set(there))
    if found and wanted not in found:
        raise ExportError(
            f"{path}, {where}, field {wanted!r}: nothing was answered to it, but to {found}; say which has "
            "the label (--label-column)"
        )


def number(path: Path, where: str, name: str, value: Any) -> float:
    """Return a number that a person gave; an ExportError that names file, row and field if it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ExportError(f"{path}, {where}, field {name!r}: expected a number, got {str(value)[:40]!r}")
    return found
