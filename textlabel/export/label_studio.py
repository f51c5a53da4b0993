"""Tasks with predictions for Label Studio, and its annotations back.

The folder holds ``label_studio.json``, to import into a project, and ``label_studio.xml``, its labeling
interface. ``data`` of a task has the columns of its row, ``label`` as ``textlabel_label``, because flat
exports (JSON-MIN, CSV) put data and answers side by side. The model's label is a prediction with confidence
and model version, never an annotation. A class is a choice, a score a number.

Back comes the export "JSON" (one object a task, with all annotations): a skipped task (``was_cancelled``) is
"skip", an empty annotation of several classes means none of them, a ``TextArea`` called ``note`` a note.

Source: labelstud.io/guide/tasks (basic Label Studio JSON format), labelstud.io/guide/predictions and
labelstud.io/guide/export (JSON); Label Studio 1.23, label-studio-sdk 2.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from textlabel.corpus.remote import File
from textlabel.errors import ExportError
from textlabel.export import _tools
from textlabel.export._tools import Answer, Item, Task

if TYPE_CHECKING:
    from datasets import Dataset, Features

NAME = "label_studio"
FILE = "label_studio.json"
CONFIG = "label_studio.xml"

#: key of the column ``label`` in the data of a task
LABEL = "textlabel_label"


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with tasks, labeling interface, provenance record and card.

    Raises
    ------
    ExportError : a column holds what text cannot, or bears the name that the label has in a task.
    """
    if LABEL in dataset.column_names:
        raise ExportError(
            f"column {LABEL!r} is where a task of Label Studio has the label: rename the column"
        )
    return _tools.write_annotations(dataset, path, record, FILE, _encode, _extras)


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/label_studio.json`` with the types of ``features``."""
    return _tools.read_annotations(path, features, FILE, lambda task: _row(task["data"]))


def ask(sheet: Iterable[Mapping[str, Any]], path: Path, task: Task) -> Path:
    """Return ``path``, now a folder with the rows of a sheet as tasks without predictions."""
    return _tools.write_questions(sheet, path, task, FILE, _encode, _extras)


def answers(path: Path, text_field: str = "text", label_field: str = "label") -> Iterator[Answer]:
    """Yield what each annotator said of each task of an exported file.

    Parameters
    ----------
    text_field, label_field : key of the text in ``data``, and name of the control (``<Choices name=...>``).

    Raises
    ------
    ExportError : not such a file, or no such control.
    """
    for where, task in _tools.read_objects(path):
        data = _tools.need(path, where, task, "data", dict, "the data of a task")
        text = str(_tools.need(path, f"{where}, data", data, text_field, str, "the text"))
        given = _tools.need(path, where, task, "annotations", list, "a list; export as JSON, not JSON-MIN")
        if not given:
            yield Answer(where, text, keys=data)
        for one in given:
            who = _name(one.get("completed_by"))
            if one.get("was_cancelled"):
                yield Answer(where, text, state="skip", reviewer=who, keys=data)
                continue
            labels, note = _values(path, where, one.get("result") or [], label_field)
            yield Answer(where, text, labels, reviewer=who, note=note, keys=data)


def _values(path: Path, where: str, results: list[dict[str, Any]], name: str) -> tuple[list[Any], str]:
    """Return labels and note of an annotation."""
    kinds = ("choices", "number", "rating")
    answered = [str(result.get("from_name")) for result in results if result.get("type") in kinds]
    _tools.check_field(path, where, name, answered)
    labels: list[Any] = []
    note = ""
    for result in results:
        kind, value = result.get("type"), result.get("value") or {}
        if kind == "textarea":
            note = " ".join(value.get("text") or [])
        elif result.get("from_name") != name:
            continue
        elif kind == "choices":
            labels += _tools.need(path, where, value, "choices", list, "names of classes")
        elif kind in kinds:
            labels.append(_tools.number(path, where, str(kind), value.get(kind)))
    return labels, note


def _row(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**data, "label": data[LABEL]} if LABEL in data else data


def _name(completed_by: Any) -> str:
    """Return who annotated: an address where the export has one, else the number of the user."""
    if isinstance(completed_by, dict):
        return str(completed_by.get("email") or completed_by.get("username") or completed_by.get("id") or "")
    return "" if completed_by is None else f"user {completed_by}"


def _encode(item: Item, task: Task) -> dict[str, Any]:
    data = {LABEL if name == "label" else name: value for name, value in item.row.items()}
    found: dict[str, Any] = {"data": data}
    if item.labels is not None:
        kind = "number" if task.kind == "score" else "choices"
        value = item.labels[0] if task.kind == "score" else item.labels
        result = {"from_name": "label", "to_name": "text", "type": kind, "value": {kind: value}}
        score = {} if item.score is None else {"score": item.score}
        # an empty choice is no result there: several classes of which none holds
        results = [result] if item.labels else []
        found["predictions"] = [{"model_version": task.agent, **score, "result": results}]
    return found


def _extras(task: Task) -> Mapping[str, str]:
    """Return the labeling interface."""
    if task.kind == "score":
        control = '  <Number name="label" toName="text"/>\n'
    else:
        choice = "multiple" if task.kind == "multi" else "single"
        # required would leave no way to say "none of them"
        required = "" if task.kind == "multi" else ' required="true"'
        choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in task.names)
        control = (
            f'  <Choices name="label" toName="text" choice="{choice}"{required}>\n{choices}  </Choices>\n'
        )
    return {CONFIG: f'<View>\n  <Text name="text" value="$text"/>\n{control}</View>\n'}
