"""Records with suggestions for Argilla 2, and its responses back.

The folder holds ``argilla.json``, in the layout of ``dataset.records.to_json``, and
``argilla_settings.json``, in that of ``Settings.to_json``::

    settings = rg.Settings.from_json("labeled/argilla_settings.json")
    dataset = rg.Dataset("labeled", settings=settings).create()
    dataset.records.from_json("labeled/argilla.json")

The model's label is a suggestion with confidence and agent, never a response. Argilla has no question for
any number, so a score is asked as text. The whole row is under ``row``, which Argilla does not read.

Back comes what `save` writes, which is told names of people; or ``dataset.records.to_json``, in which they
are numbers and which does not tell drafts and discarded responses from submitted ones. A discarded response
is "skip", a draft no answer; one that was discarded without any value is nowhere in the client's records, and
so is not answered here.

Source: docs.argilla.io/latest/reference/argilla/records and .../settings; argilla 2.8.
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

NAME = "argilla"
FILE = "argilla.json"
SETTINGS = "argilla_settings.json"


def write(dataset: Dataset, path: Path, record: dict[str, Any]) -> Path:
    """Return ``path``, now a folder with records, settings, provenance record and card.

    Raises
    ------
    ExportError : a column holds what text cannot.
    """
    return _tools.write_annotations(dataset, path, record, FILE, _encode, _extras)


def read(path: File, features: Features) -> Dataset:
    """Return the rows of ``path/argilla.json`` with the types of ``features``."""
    return _tools.read_annotations(path, features, FILE, lambda record: record[ROW])


def ask(sheet: Iterable[Mapping[str, Any]], path: Path, task: Task) -> Path:
    """Return ``path``, now a folder with the rows of a sheet as records without suggestions."""
    return _tools.write_questions(sheet, path, task, FILE, _encode, _extras)


def save(records: Iterable[Any], path: str | Path, names: Mapping[str, str] | None = None) -> Path:
    """Write Argilla's records with their responses, for `answers`::

        save(dataset.records(with_responses=True), "answers.json",
             {str(user.id): user.username for user in client.users})

    Parameters
    ----------
    names : {user id: name} of people; others are called by their id.
    """
    known = names or {}
    with Path(path).open("w", encoding="utf-8", newline="\n") as lines:
        for record in records:
            found = {name: record.to_dict()[name] for name in ("id", "fields", "metadata", "status")}
            responses: dict[str, list[dict[str, Any]]] = {}
            for one in record.responses:
                who = known.get(str(one.user_id), str(one.user_id))
                status = None if one.status is None else str(getattr(one.status, "value", one.status))
                held = {"value": one.value, "user_id": who, **({"status": status} if status else {})}
                responses.setdefault(one.question_name, []).append(held)
            lines.write(json.dumps({**found, "responses": responses}, ensure_ascii=False) + "\n")
    return Path(path)


def answers(path: Path, text_field: str = "text", label_field: str = "label") -> Iterator[Answer]:
    """Yield each response to each record of an exported file.

    Parameters
    ----------
    text_field, label_field : names of the field and of the question.

    Raises
    ------
    ExportError : not such a file, or no such question.
    """
    for where, record in _tools.read_objects(path):
        fields = _tools.need(path, where, record, "fields", dict, "the fields of a record")
        text = str(_tools.need(path, f"{where}, fields", fields, text_field, str, "the text"))
        metadata = record.get("metadata") or {}
        keys = {"id": record.get("id"), **metadata}
        responses = record.get("responses") or {}
        given = responses.get(label_field) or []
        _tools.check_field(path, where, label_field, [name for name in responses if name != "note"])
        notes = {one.get("user_id"): str(one.get("value") or "") for one in responses.get("note") or []}
        if not given:
            yield Answer(where, text, state=_state(record), keys=keys)
        for one in given:
            who = str(one.get("user_id") or "")
            state = _state({**record, **one})
            value = None if state or one.get("status") == "draft" else one.get("value")
            labels = value if value is None or isinstance(value, list) else [value]
            yield Answer(where, text, labels, state, who, notes.get(one.get("user_id"), ""), keys)


def _state(found: Mapping[str, Any]) -> str:
    return "skip" if found.get("status") == "discarded" else ""


def _encode(item: Item, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {"id": item.id or None, "fields": {"text": item.text}, "metadata": {}}
    if item.blind:
        found["metadata"] = {name: value for name, value in item.row.items() if name not in ("id", "text")}
        return found
    if item.labels is not None:
        single = task.kind != "multi"
        value = str(item.labels[0]) if task.kind == "score" else item.labels[0] if single else item.labels
        score = {} if item.score is None else {"score": item.score}
        found["suggestions"] = {"label": {"value": value, **score, "agent": task.agent}}
    found[ROW] = dict(item.row)
    return found


def _extras(task: Task) -> Mapping[str, str]:
    """Return the settings of the dataset."""
    options = [{"value": name, "text": name, "description": None} for name in task.names]
    kinds = {"single": "label_selection", "multi": "multi_label_selection", "score": "text"}
    question: dict[str, Any] = {"type": kinds[task.kind]}
    if task.kind == "score":
        question["use_markdown"] = False
    else:
        question |= {"options": options, "visible_options": None}
    settings = {
        "guidelines": None,
        "fields": [_named("text", {"type": "text", "use_markdown": False})],
        "questions": [{**_named("label", question), "required": task.kind != "multi"}],
        "metadata": [],
        "vectors": [],
        "allow_extra_metadata": True,
    }
    return {SETTINGS: json.dumps(settings, indent=2, ensure_ascii=False) + "\n"}


def _named(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": name, "required": True, "settings": dict(settings)}
