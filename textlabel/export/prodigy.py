"""JSON lines for Prodigy's choice interface, and its answers back.

The folder holds ``prodigy.jsonl``: ``options`` are the classes, ``accept`` the model's label, chosen
beforehand, ``meta`` what is shown below the text. Of several classes the interface must be told so
(``"choice_style": "multiple"``). Scores have no options: show an input field called ``label``.

Back comes ``prodigy db-out``. Only examples with an ``answer`` were seen by a person: "ignore" is "skip",
"reject" is "unsure", and "accept" of several classes with none chosen means none of them. The reviewer is
``_annotator_id``, else ``_session_id``.

Source: prodi.gy/docs/api-interfaces (choice, text_input) and prodi.gy/docs/api-loaders; Prodigy 1.18.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File
from textlabel.export import _tools
from textlabel.export._tools import ROW, Answer, Item, Task

if TYPE_CHECKING:
    from datasets import Dataset, Features

NAME = "prodigy"
FILE = "prodigy.jsonl"

_STATES = {"ignore": "skip", "reject": "unsure"}


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with examples, provenance record and card.

    Raises
    ------
    ExportError : a column holds what text cannot.
    """
    return _tools.write_annotations(dataset, path, record, FILE, _encode, _extras)


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/prodigy.jsonl`` with the types of ``features``."""
    return _tools.read_annotations(path, features, FILE, lambda line: line[ROW])


def ask(sheet: Iterable[Mapping[str, Any]], path: Path, task: Task) -> Path:
    """Return ``path``, now a folder with the rows of a sheet as examples with nothing chosen."""
    return _tools.write_questions(sheet, path, task, FILE, _encode, _extras)


def answers(path: Path, text_field: str = "text", label_field: str = "label") -> Iterator[Answer]:
    """Yield each example of a file that ``db-out`` wrote.

    Parameters
    ----------
    text_field, label_field : keys of the text and, where there are no options, of the input field.

    Raises
    ------
    ExportError : not such a file.
    """
    for where, line in _tools.read_objects(path):
        text = str(_tools.need(path, where, line, text_field, str, "the text"))
        keys = line.get("meta") or {}
        who = str(line.get("_annotator_id") or line.get("_session_id") or "")
        said = line.get("answer")
        if said != "accept":
            yield Answer(where, text, state=_STATES.get(str(said), ""), reviewer=who, keys=keys)
            continue
        if "options" in line:
            labels = _tools.need(path, where, line, "accept", list, "ids of the chosen options")
        else:
            labels = [line[label_field]] if label_field in line else None
        yield Answer(where, text, labels, reviewer=who, note=str(line.get("note") or ""), keys=keys)


def _encode(item: Item, task: Task) -> dict[str, Any]:
    asked = {name: value for name, value in item.row.items() if name not in ("text", "label", "note")}
    meta = asked if item.blind else {"id": item.id, "confidence": item.score}
    found: dict[str, Any] = {"text": item.text, "meta": meta}
    if task.names:
        found["options"] = [{"id": name, "text": name} for name in task.names]
        found["accept"] = item.labels or []
    return found if item.blind else found | {ROW: dict(item.row)}


def _extras(task: Task) -> Mapping[str, str]:
    return {}
