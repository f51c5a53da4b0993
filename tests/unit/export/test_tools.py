"""Files for labeling tools: in the shape that each documents, and with its own client where that is here."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import sealed as made
from datasets import ClassLabel, Dataset, Features, List, Value

from textlabel.errors import ExportError
from textlabel.export._read import answers_of, tool_of
from textlabel.export._tools import Task
from textlabel.export.argilla import save
from textlabel.registry import load

TOOLS = ["argilla", "doccano", "label_studio", "prodigy"]
NAMES = ["bad", 'so-so & "more"', "good"]
PERSON = "00000000-0000-0000-0000-000000000001"
ROWS = {"single": [0, 2], "multi": [[0, 2], []], "score": [1.5, 4.0]}


def annotated(kind):
    label = {
        "single": ClassLabel(names=NAMES),
        "multi": List(ClassLabel(names=NAMES)),
        "score": Value("float64"),
    }
    features = Features(
        {"id": Value("string"), "text": Value("string"), "label": label[kind], "confidence": Value("float64")}
    )
    columns = {
        "id": ["a", "b"],
        "text": ["<b>x</b>", "ü\ny"],
        "label": ROWS[kind],
        "confidence": [0.25, 0.75],
    }
    return Dataset.from_dict(columns, features=features)


def record(kind):
    names = [] if kind == "score" else NAMES
    calibrator = {"name": "per_label"} if kind == "multi" else None
    return made.RECORD | {"schema": {"kind": kind, "names": names}, "calibrator": calibrator, "rows": 2}


def written(tool, kind, tmp_path):
    plugin = load("export", tool)
    plugin.write(annotated(kind), tmp_path / "out", record(kind))
    text = (tmp_path / "out" / plugin.FILE).read_text(encoding="utf-8")
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", ROWS)
def test_what_the_model_says_is_no_answer(tool, kind, tmp_path):
    written(tool, kind, tmp_path)
    file = tmp_path / "out" / load("export", tool).FILE
    if tool == "label_studio":  # exported tasks have a list of annotations, imported ones need none
        file.write_text(json.dumps([{**one, "annotations": []} for one in json.loads(file.read_text())]))
    found = list(answers_of(file, tool))
    assert [(one.labels, one.state) for one in found] == [(None, "")] * 2
    assert [(one.keys["id"], one.text) for one in found] == [("a", "<b>x</b>"), ("b", "ü\ny")]


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", ROWS)
def test_a_blind_file_tells_nothing_of_the_model(tool, kind, tmp_path):
    sheet = [{"textlabel_sheet": "audit-1/7", "id": "a", "text": "x"}]
    task = Task(kind, () if kind == "score" else tuple(NAMES), "secret model")
    plugin = tool_of(tool)
    plugin.ask(sheet, tmp_path / "out", task)
    text = (tmp_path / "out" / plugin.FILE).read_text()
    assert not any(
        word in text for word in ("secret", "predictions", "suggestions", "confidence", "model_label")
    )
    one = json.loads(text)[0] if text.startswith("[") else json.loads(text)
    assert not one.get("accept")
    assert not one.get("label")
    if tool == "label_studio":
        plugin_file = tmp_path / "out" / plugin.FILE
        plugin_file.write_text(json.dumps([one | {"annotations": []}]))
    found = next(answers_of(tmp_path / "out" / plugin.FILE, tool))
    assert (found.keys["textlabel_sheet"], found.keys["id"]) == ("audit-1/7", "a")
    with pytest.raises(ExportError, match="is there already"):
        plugin.ask(sheet, tmp_path / "out", task)


def test_label_studio_predictions_and_interface(tmp_path):
    first, second = written("label_studio", "multi", tmp_path)
    (prediction,) = first["predictions"]
    assert prediction["score"] == 0.25
    assert prediction["model_version"] == "textlabel 0.1.0 tiny"
    (result,) = prediction["result"]
    assert result == {
        "from_name": "label",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": ["bad", "good"]},
    }
    assert second["predictions"][0]["result"] == []
    view = ET.fromstring((tmp_path / "out/label_studio.xml").read_text())
    assert [choice.get("value") for choice in view.iter("Choice")] == NAMES
    (choices,) = view.iter("Choices")
    assert (choices.get("choice"), choices.get("required")) == ("multiple", None)


def test_label_studio_scores_are_numbers(tmp_path):
    (prediction,) = written("label_studio", "score", tmp_path)[0]["predictions"]
    assert (prediction["result"][0]["type"], prediction["result"][0]["value"]) == ("number", {"number": 1.5})


def test_doccano_gets_no_label_that_it_would_take_for_a_persons(tmp_path):
    first, _ = written("doccano", "single", tmp_path)
    assert first["label"] == []
    assert (first["model_label"], first["confidence"], first["row_id"]) == (["bad"], 0.25, "a")
    assert "id" not in first
    assert json.loads((tmp_path / "out/doccano_labels.json").read_text()) == [
        {"text": name} for name in NAMES
    ]


def test_prodigy_options(tmp_path):
    first, _ = written("prodigy", "single", tmp_path)
    assert first["options"][1] == {"id": NAMES[1], "text": NAMES[1]}
    assert first["accept"] == ["bad"]
    assert first["meta"] == {"id": "a", "confidence": 0.25}


def answers(tool, tmp_path, *rows, name="answers.json"):
    path = tmp_path / name
    path.write_text(json.dumps(rows))
    return [(one.labels, one.state, one.reviewer, one.note) for one in answers_of(path, tool)]


def test_label_studio_annotations(tmp_path):
    def choice(*names):
        return {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": list(names)}}

    note = {"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": ["hm"]}}
    given = [
        {"completed_by": {"id": 3, "email": "a@b.c"}, "result": [choice("good"), note]},
        {"completed_by": 4, "result": [choice("good", "bad")], "was_cancelled": True},
        {"completed_by": 5, "result": [{"type": "rating", "from_name": "label", "value": {"rating": 4}}]},
        {"completed_by": 6, "result": []},
    ]
    assert answers("label_studio", tmp_path, {"data": {"text": "x"}, "annotations": given}) == [
        (["good"], "", "a@b.c", "hm"),
        (None, "skip", "user 4", ""),
        ([4.0], "", "user 5", ""),
        ([], "", "user 6", ""),
    ]


def test_other_names_of_text_and_label(tmp_path):
    value = {"from_name": "mood", "type": "choices", "value": {"choices": ["good"]}}
    path = tmp_path / "project.json"
    path.write_text(json.dumps([{"data": {"review": "x"}, "annotations": [{"result": [value]}]}]))
    (found,) = answers_of(path, "label_studio", "review", "mood")
    assert (found.text, found.labels) == ("x", ["good"])
    with pytest.raises(
        ExportError, match=r"row 1, field 'label': nothing was answered to it, but to \['mood'\]"
    ):
        list(answers_of(path, "label_studio", "review"))
    path.write_text(json.dumps([{"fields": {"text": "x"}, "responses": {"mood": [{"value": "good"}]}}]))
    with pytest.raises(ExportError, match=r"nothing was answered to it, but to \['mood'\]"):
        list(answers_of(path, "argilla"))
    assert next(answers_of(path, "argilla", label_field="mood")).labels == ["good"]


def test_argilla_responses(tmp_path):
    given = {"label": [{"value": "good", "user_id": "u1"}, {"value": ["a", "b"], "user_id": "u2"}]}
    given["label"] += [{"value": "bad", "user_id": "u3", "status": "draft"}]
    given["label"] += [{"value": "bad", "user_id": "u4", "status": "discarded"}]
    rows = [
        {"id": "a", "fields": {"text": "x"}, "responses": given},
        {"id": "b", "fields": {"text": "x"}, "responses": {}, "status": "discarded"},
        {"id": "c", "fields": {"text": "x"}, "responses": {}, "status": "pending"},
    ]
    assert answers("argilla", tmp_path, *rows) == [
        (["good"], "", "u1", ""),
        (["a", "b"], "", "u2", ""),
        (None, "", "u3", ""),
        (None, "skip", "u4", ""),
        (None, "skip", "", ""),
        (None, "", "", ""),
    ]


def test_doccano_labels(tmp_path):
    rows = [
        {"id": 1, "text": "x", "label": ["good"], "row_id": "a", "Comments": ["hm"]},
        {"id": 2, "text": "x", "label": []},
    ]
    assert answers("doccano", tmp_path, *rows, name="anna.jsonl") == [
        (["good"], "", "anna", "hm"),
        (None, "", "anna", ""),
    ]
    assert answers("doccano", tmp_path, rows[0], name="all.jsonl")[0][2] == ""


def test_prodigy_answers(tmp_path):
    options = [{"id": "good", "text": "good"}]
    rows = [
        {"text": "x", "options": options, "accept": ["good"], "answer": "accept", "_annotator_id": "a"},
        {"text": "x", "options": options, "accept": ["good"], "answer": "ignore", "_session_id": "s"},
        {"text": "x", "options": options, "accept": ["good"], "answer": "reject"},
        {"text": "x", "options": options, "accept": ["good"]},
        {"text": "x", "label": "3.5", "answer": "accept"},
    ]
    assert answers("prodigy", tmp_path, *rows) == [
        (["good"], "", "a", ""),
        (None, "skip", "s", ""),
        (None, "unsure", "", ""),
        (None, "", "", ""),
        (["3.5"], "", "", ""),
    ]


@pytest.mark.parametrize(
    ("tool", "row", "said"),
    [
        (
            "label_studio",
            {"text": "x", "choice": "good"},
            r"row 2, field 'data': expected the data",
        ),
        ("label_studio", {"data": {}, "annotations": []}, r"row 2, data, field 'text': expected the text"),
        ("label_studio", {"data": {"text": "x"}}, r"row 2, field 'annotations': .*not JSON-MIN"),
        ("argilla", {"text": "x"}, r"row 2, field 'fields'"),
        ("doccano", {"text": "x", "label": "good"}, r"row 2, field 'label': expected a list"),
        ("prodigy", {"text": "x", "options": [], "answer": "accept"}, r"row 2, field 'accept'"),
    ],
)
def test_what_is_unfit_is_named(tool, row, said, tmp_path):
    good = {
        "data": {"text": "x"},
        "annotations": [],
        "fields": {"text": "x"},
        "text": "x",
        "label": [],
        "answer": "ignore",
    }
    with pytest.raises(ExportError, match=rf"answers\.json, {said}"):
        answers(tool, tmp_path, good, row)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("text", "said"), [('{"a": 1}\nno', r"line 2: not JSON"), ("[1]", r"row 1: expected a JSON")]
)
def test_a_file_of_something_else(tool, text, said, tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(text if text.startswith("[") else "\n" + text.splitlines()[1])
    with pytest.raises(ExportError, match=said):
        list(answers_of(path, tool))


def test_a_format_of_no_tool():
    with pytest.raises(ExportError, match=r"'csv' is a format, but of no labeling tool; .*'doccano'"):
        tool_of("csv")


@pytest.fixture
def argilla_client():
    """The real client, which asks a server who it is before it reads anything."""
    argilla = pytest.importorskip("argilla", reason="argilla is not installed")

    class Me(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            me = {"id": PERSON, "username": "a", "first_name": "a", "role": "owner"}
            self.wfile.write(json.dumps(me).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Me) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        argilla.Argilla(api_url=f"http://127.0.0.1:{server.server_port}", api_key="key")
        yield argilla
        server.shutdown()


@pytest.mark.parametrize("kind", ROWS)
def test_the_argilla_client_reads_records_and_settings(kind, tmp_path, argilla_client):
    from argilla.records._io._json import JsonIO

    written("argilla", kind, tmp_path)
    settings = argilla_client.Settings.from_json(tmp_path / "out/argilla_settings.json")
    settings.validate()
    assert [question.name for question in settings.questions] == ["label"]
    records = JsonIO._records_from_json(tmp_path / "out/argilla.json")
    assert [one.fields["text"] for one in records] == ["<b>x</b>", "ü\ny"]
    said = [one.suggestions.to_dict()["label"] for one in records]
    assert [one["score"] for one in said] == [0.25, 0.75]
    first = {"single": "bad", "multi": ["bad", "good"], "score": "1.5"}[kind]
    assert said[0]["value"] == first
    records[0].responses.add(argilla_client.Response("label", first, user_id=PERSON))
    JsonIO.to_json(records, tmp_path / "back.json")
    one, two = answers_of(tmp_path / "back.json", "argilla")
    assert one.labels == (first if isinstance(first, list) else [first])
    assert one.reviewer == PERSON
    assert (one.keys["id"], two.labels) == ("a", None)
    later = {"user_id": PERSON, "status": "discarded"}
    records[1].responses.add(argilla_client.Response("label", first, **later))
    save(records, tmp_path / "saved.json", {PERSON: "anna"})
    one, two = answers_of(tmp_path / "saved.json", "argilla")
    assert (one.labels is None, one.reviewer) == (False, "anna")
    assert (two.labels, two.state, two.reviewer) == (None, "skip", "anna")


@pytest.mark.parametrize("kind", ROWS)
def test_the_label_studio_sdk_accepts_tasks_and_interface(kind, tmp_path):
    pytest.importorskip("label_studio_sdk", reason="label-studio-sdk is not installed")
    from label_studio_sdk.label_interface import LabelInterface

    tasks = written("label_studio", kind, tmp_path)
    interface = LabelInterface((tmp_path / "out/label_studio.xml").read_text())
    interface.validate()
    for task in tasks:
        assert interface.validate_prediction(task["predictions"][0])
        given = {"id": 1, "completed_by": 1, "result": task["predictions"][0]["result"]}
        assert interface.validate_annotation(given)


@pytest.mark.parametrize("kind", ROWS)
def test_the_label_studio_converter_reads_the_same_annotations(kind, tmp_path):
    pytest.importorskip("label_studio_sdk", reason="label-studio-sdk is not installed")
    from label_studio_sdk.converter import Converter

    exported = []
    for number, task in enumerate(written("label_studio", kind, tmp_path)):
        result = task["predictions"][0]["result"]
        one = {"id": number, "completed_by": 1, "was_cancelled": False, "result": result}
        exported.append({"id": number, "data": task["data"], "annotations": [one]})
    file = tmp_path / "project.json"
    file.write_text(json.dumps(exported))
    converter = Converter(str(tmp_path / "out/label_studio.xml"), str(tmp_path), download_resources=False)
    converter.convert(str(file), str(tmp_path / "min"), "JSON_MIN", is_dir=False)
    theirs = json.loads((tmp_path / "min/result.json").read_text())
    ours = [one.labels for one in answers_of(file, "label_studio")]
    for row, labels in zip(theirs, ours, strict=True):
        said = row.get("label", [])
        if isinstance(said, dict):
            said = said["choices"]
        elif isinstance(said, list):
            said = [one["number"] for one in said]
        else:
            said = [said]
        assert said == labels
