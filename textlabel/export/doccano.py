"""JSON lines for doccano, and its labels back.

The folder holds ``doccano.jsonl``, to import as JSONL into a project of kind "text classification" (for
scores: "sequence to sequence"), and ``doccano_labels.json``, its label types. ``label`` is empty:
doccano takes what stands there for a person's label, and would give the model's labels of texts that nobody
looked at back as answers. What the model says is shown among the metadata (``model_label``,
``confidence``). The id is called ``row_id``, because doccano has an ``id`` of its own.

Back comes its JSONL export; one file a person where a project is not shared, and then the name of the file
is the reviewer. A text without labels is not answered yet. doccano knows neither skip nor unsure: give it a
label type of that name.

Source: doccano.github.io/doccano (tutorial, import and export of JSONL), github.com/doccano/doccano at
1.8.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textlabel.corpus.remote import File
from textlabel.export import _tools
from textlabel.export._tools import ROW, Answer, Item, Task

if TYPE_CHECKING:
    from datasets import Dataset, Features

NAME = "doccano"
FILE = "doccano.jsonl"
LABELS = "doccano_labels.json"

#: files that hold the labels of everybody
_EVERYBODY = ("all", "doccano", "unknown")


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with texts, label types, provenance record and card.

    Raises
    ------
    ExportError : a column holds what text cannot.
    """
    return _tools.write_annotations(dataset, path, record, FILE, _encode, _extras)


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/doccano.jsonl`` with the types of ``features``."""
    return _tools.read_annotations(path, features, FILE, lambda line: line[ROW])


def ask(sheet: Iterable[Mapping[str, Any]], path: Path, task: Task) -> Path:
    """Return ``path``, now a folder with the rows of a sheet as texts without a model's label."""
    return _tools.write_questions(sheet, path, task, FILE, _encode, _extras)


def answers(path: Path, text_field: str = "text", label_field: str = "label") -> Iterator[Answer]:
    """Yield the labels of each text of an exported file.

    Parameters
    ----------
    text_field, label_field : keys of text and labels.

    Raises
    ------
    ExportError : not such a file.
    """
    reviewer = "" if Path(path).stem in _EVERYBODY else Path(path).stem
    for where, line in _tools.read_objects(path):
        text = str(_tools.need(path, where, line, text_field, str, "the text"))
        labels = _tools.need(path, where, line, label_field, list, "a list of labels (a JSONL export)")
        keys = {name: line[name] for name in line if name != "id"} | {"id": line.get("row_id")}
        note = " ".join(str(one) for one in line.get("Comments") or [])
        yield Answer(where, text, labels or None, reviewer=reviewer, note=note, keys=keys)


def _encode(item: Item, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {"text": item.text, "label": [], "row_id": item.id}
    if item.blind:
        return found | {
            name: value for name, value in item.row.items() if name not in ("id", "text", "label")
        }
    told = {} if item.labels is None else {"model_label": item.labels, "confidence": item.score}
    return found | told | {ROW: dict(item.row)}


def _extras(task: Task) -> Mapping[str, str]:
    """Return the label types; scores have none."""
    kinds = [{"text": name} for name in task.names]
    return {LABELS: json.dumps(kinds, indent=2, ensure_ascii=False) + "\n"} if kinds else {}
