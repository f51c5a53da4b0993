"""To a labeling tool and back, by commands: nobody's label gets lost, and no audit sees the model's."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import sealed as made
from datasets import ClassLabel, Dataset, List
from typer.testing import CliRunner

from textlabel import audit
from textlabel.audit.answers import all_answers, audit_answers
from textlabel.audit.seal import open_sealed
from textlabel.cli.app import app
from textlabel.corpus.load import load_corpus
from textlabel.errors import AuditError, CorpusError, ExportError
from textlabel.exchange import FromTool, ToTool
from textlabel.export._read import read_annotations
from textlabel.registry import load

TOOLS = ["argilla", "doccano", "label_studio", "prodigy"]


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def people(tool, folder, say, out, who="anna"):
    """Write what a tool exports once people have answered; ``say``: id -> label, "" for a skip, or None."""
    text = (folder / load("export", tool).FILE).read_text(encoding="utf-8")
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    done = [_answered(tool, row, say, who) for row in rows]
    out.write_text("\n".join(json.dumps(row) for row in done) if tool != "label_studio" else json.dumps(done))
    return out


def _answered(tool, row, say, who):
    if tool == "label_studio":
        said = say(row["data"]["id"])
        value = {"choices": [said]}
        result = (
            [{"from_name": "label", "to_name": "text", "type": "choices", "value": value}] if said else []
        )
        one = {"completed_by": {"email": who}, "result": result, "was_cancelled": said == ""}
        return {**row, "annotations": [] if said is None else [one]}
    if tool == "argilla":
        said = say(row["id"])
        given = {"label": [{"value": said, "user_id": who}]} if said else {}
        return {**row, "responses": given, "status": "discarded" if said == "" else "completed"}
    if tool == "doccano":
        said = say(row["row_id"])
        return {**row, "id": 99, "label": [] if said is None else [said or "skip"]}
    said = say(row["meta"]["id"])
    done = {} if said is None else {"answer": "accept" if said else "ignore", "_annotator_id": who}
    return {**row, **done, "accept": [said] if said else []}


@pytest.fixture
def folder(tmp_path):
    rows, truth = made.corpus(60)
    return made.write(rows, tmp_path / "out"), dict(zip(rows["id"], truth, strict=True))


@pytest.mark.parametrize("tool", TOOLS)
def test_an_audit_goes_to_a_tool_and_comes_back(tool, folder, tmp_path):
    out, truth = folder
    draw, sheet = audit.draw(out, 20, seed=3, show_labels=True)
    told = json.loads(
        run("convert", out, "--sheet", sheet, "--to", tool, "--out", tmp_path / "t", "--json").stdout
    )
    assert told == {"texts": 20, "labels_shown": False, "out": str(tmp_path / "t")}
    skipped, blank = (f"r{i}" for i in draw.rows[:2])
    say = {**truth, skipped: "", blank: None}.get
    file = people(tool, tmp_path / "t", say, tmp_path / "anna.json")
    told = json.loads(run("audit", "import", out, file, "--from", tool, "--json").stdout)
    assert told == {"answered": 18, "undecided": 1, "blank": 1, "replaced": 0}
    gold = audit_answers(open_sealed(out))
    assert set(np.flatnonzero(gold.decided)) == set(draw.rows[2:].tolist())
    assert all(made.NAMES[int(gold.label[row])] == truth[f"r{row}"] for row in draw.rows[2:])
    assert gold.seen[draw.rows[0]]
    assert not gold.seen[draw.rows[1]]
    assert "anna" in gold.reviewers


@pytest.mark.parametrize("tool", TOOLS)
def test_annotations_go_to_a_tool_and_corrections_are_to_do_answers(tool, folder, tmp_path):
    out, truth = folder
    ToTool(str(out), tool, str(tmp_path / "t")).run()
    answered = {f"r{i}": truth[f"r{i}"] for i in range(5)}
    file = people(tool, tmp_path / "t", answered.get, tmp_path / "anna.json")
    assert audit.import_answers(out, file, tool=tool).answered == 5
    sealed = open_sealed(out)
    assert not audit_answers(sealed).decided.any()  # the model's label was seen
    assert np.flatnonzero(all_answers(sealed).decided).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("tool", TOOLS)
def test_rows_that_a_team_labeled_are_fit_for_training(tool, folder, tmp_path):
    out, truth = folder
    ToTool(str(out), tool, str(tmp_path / "t")).run()
    answered = {**{f"r{i}": truth[f"r{i}"] for i in range(5)}, "r5": ""}
    file = people(tool, tmp_path / "t", answered.get, tmp_path / "anna.json")
    run("convert", file, "--from", tool, "--out", tmp_path / "rows.csv")
    rows = load_corpus(str(tmp_path / "rows.csv"), label_column="label")
    expected = {**answered}
    del expected["r5"]
    if tool == "doccano":  # there "skip" is a label like any other
        expected["r5"] = "skip"
    assert dict(zip(rows["id"], rows["label"], strict=True)) == expected


def test_answers_to_an_audit_do_not_get_into_training(folder, tmp_path):
    out, truth = folder
    _, sheet = audit.draw(out, 20, seed=3)
    ToTool(str(out), "argilla", str(tmp_path / "t"), str(sheet)).run()
    file = people("argilla", tmp_path / "t", truth.get, tmp_path / "anna.json")
    FromTool(str(file), "argilla", str(tmp_path / "rows.csv")).run()
    with pytest.raises(CorpusError, match="this is an audit sheet"):
        load_corpus(str(tmp_path / "rows.csv"), label_column="label")


def studio(tmp_path, *tasks):
    path = tmp_path / "project.json"
    path.write_text(json.dumps([{"data": data, "annotations": given} for data, given in tasks]))
    return path


def said(who, *names):
    value = {"type": "choices", "from_name": "label", "value": {"choices": list(names)}}
    return {"completed_by": who, "result": [value] if names else [], "was_cancelled": False}


def test_several_people_decide_by_majority_and_ties_stay_open(tmp_path):
    file = studio(
        tmp_path,
        ({"id": "a", "text": "x"}, [said(1, "good"), said(2, "good"), said(3, "bad")]),
        ({"id": "b", "text": "y"}, [said(1, "good"), said(2, "bad")]),
        ({"id": "c", "text": "z"}, [said(1, "good"), {"completed_by": 2, "was_cancelled": True}]),
        ({"id": "d", "text": "w"}, []),
    )
    step = FromTool(str(file), "label_studio", str(tmp_path / "rows.jsonl"))
    told = step.run()
    assert told == {"texts": 4, "labeled": 1, "open": 2, "blank": 1, "kind": "single", "out": step.out}
    rows = step.dataset()
    assert rows.to_list() == [
        {"id": "a", "text": "x", "label": "good", "reviewers": "user 1, user 2, user 3"},
    ]
    with pytest.raises(ExportError, match="is there already"):
        step.run()


def test_several_classes_and_scores(tmp_path):
    file = studio(
        tmp_path, ({"id": "a", "text": "x"}, [said(1, "b", "a")]), ({"id": "b", "text": "y"}, [said(1)])
    )
    step = FromTool(str(file), "label_studio", str(tmp_path / "rows.csv"))
    assert step.run()["kind"] == "multi"
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as rows:
        assert [row["label"] for row in csv.DictReader(rows)] == ["a|b", "(none)"]
    with pytest.raises(ExportError, match=r"project\.json, row 1, field 'label': expected one label"):
        FromTool(str(file), "label_studio", kind="single").settled()
    value = {"type": "number", "from_name": "label", "value": {"number": 2.5}}
    number = {"completed_by": 1, "result": [value]}
    file = studio(tmp_path, ({"id": "a", "text": "x"}, [number]))
    assert FromTool(str(file), "label_studio").dataset()["label"][:] == [2.5]


def test_an_empty_answer_makes_no_several_classes_of_one(tmp_path):
    file = studio(tmp_path, ({"id": "a", "text": "x"}, [said(1, "a")]), ({"id": "b", "text": "y"}, [said(1)]))
    with pytest.raises(ExportError, match=r"row 2, field 'label': expected one label, got \[\]"):
        FromTool(str(file), "label_studio").settled()
    rows, _ = FromTool(str(file), "label_studio", kind="multi").settled()
    assert [row["label"] for row in rows] == ["a", "(none)"]


def test_what_does_not_belong_here_is_named_and_nothing_is_imported(folder, tmp_path):
    out, truth = folder
    good = ({"id": "r0", "text": "text 0"}, [said(1, truth["r0"])])
    for data, names, problem in [
        ({"id": "r1", "text": "another"}, ["good"], r"row 2, column 'text': this is not the text of row"),
        ({"id": "zz", "text": "x"}, ["good"], r"row 2, field 'id': row 'zz' is not in"),
        ({"id": "r1", "text": "text 1"}, ["great"], r"row 2, column 'label': unknown label 'great'"),
        ({"id": "r1", "text": "text 1"}, ["good", "bad"], r"row 2, field 'label': expected one label"),
        ({"id": "r0", "text": "text 0"}, ["good"], r"row 2, column 'textlabel_sheet': .* twice"),
    ]:
        file = studio(tmp_path, good, (data, [said(1, *names)]))
        with pytest.raises(AuditError, match=rf"project\.json, {problem}.*Nothing was imported"):
            audit.import_answers(out, file, tool="label_studio")
    assert not all_answers(open_sealed(out)).seen.any()
    file = studio(tmp_path, good, ({"id": "r0", "text": "z"}, [said(1, "good")]))
    with pytest.raises(ExportError, match=r"row 2, field 'text': another text than in row 1"):
        FromTool(str(file), "label_studio").settled()


@pytest.mark.parametrize("tool", TOOLS)
def test_first_labels_come_from_a_tool(tool, tmp_path):
    texts = tmp_path / "texts.csv"
    texts.write_text("id,text\na,x\nb,y\nc,z\n")
    words = ("--to", tool, "--classes", "good,bad", "--out", tmp_path / "t")
    run("convert", texts, *words)
    file = people(tool, tmp_path / "t", {"a": "good", "b": "bad"}.get, tmp_path / "all.jsonl")
    rows = FromTool(str(file), tool).dataset()
    assert [(row["id"], row["text"], row["label"]) for row in rows] == [("a", "x", "good"), ("b", "y", "bad")]


def test_texts_without_labels_need_classes_or_scores(tmp_path):
    rows = Dataset.from_dict({"id": ["a"], "text": ["x"]})
    for classes, kind in [
        ((), "single"),
        (("a", "a"), "single"),
        (("a", "b"), "score"),
        (("a", "b"), "sinlge"),
    ]:
        with pytest.raises(ExportError, match=r"expected two different classes|'single'"):
            ToTool(rows, "argilla", str(tmp_path / "t"), classes=classes, kind=kind).run()
    ToTool(rows, "label_studio", str(tmp_path / "t"), kind="score").run()
    assert "<Number" in (tmp_path / "t/label_studio.xml").read_text()


def test_usage(folder, tmp_path):
    out, _ = folder
    both = run("convert", out, "--to", "argilla", "--from", "argilla", "--out", tmp_path / "t", code=1)
    assert "either --to TOOL or --from TOOL" in both.stderr
    none = run(
        "convert", out, "--to", "csv", "--sheet", out / "textlabel.json", "--out", tmp_path / "t", code=1
    )
    assert "expected" in none.stderr
    run("convert", out, "--to", "csv", "--out", tmp_path / "c")
    assert (tmp_path / "c/annotations.csv").is_file()
    hub = run("convert", out, "--to", "hub", "--out", tmp_path / "h", code=1)
    assert "writes no folder" in hub.stderr


@pytest.mark.parametrize(("kind", "given"), [("multi", [["good", "bad"], []]), ("score", [[2.5], [0]])])
def test_an_audit_of_several_classes_or_scores(kind, given, tmp_path):
    rows, _ = made.corpus(30)
    if kind == "score":
        rows, _ = made.scores(30)
    else:
        several = List(ClassLabel(names=list(made.NAMES)))
        labels = [[label] for label in rows["label"]]
        rows = rows.remove_columns("label").add_column("label", labels, feature=several)
    folder = made.write(rows, tmp_path / "out")
    tolerance = 0.5 if kind == "score" else None
    draw, sheet = audit.draw(folder, 2, seed=1, tolerance=tolerance)
    ToTool(str(folder), "label_studio", str(tmp_path / "t"), str(sheet)).run()
    tasks = json.loads((tmp_path / "t/label_studio.json").read_text())
    name = "choices" if kind == "multi" else "number"
    for task, labels in zip(tasks, given, strict=True):
        value = labels if kind == "multi" else labels[0]
        result = {"type": name, "from_name": "label", "to_name": "text", "value": {name: value}}
        task["annotations"] = [{"completed_by": 1, "result": [result] if labels else []}]
    file = tmp_path / "project.json"
    file.write_text(json.dumps(tasks))
    told = audit.import_answers(folder, file, tool="label_studio")
    assert (told.answered, told.undecided) == (2, 0)
    sealed = open_sealed(folder)
    gold = audit_answers(sealed)
    row = {task["data"]["id"]: i for task, i in zip(tasks, range(2), strict=True)}
    for number in draw.rows.tolist():
        expected = given[row[rows["id"][number]]]
        said = gold.label[number]
        if kind == "score":
            assert said == expected[0]
        else:
            assert sealed.names[int(said)] == ("bad|good" if expected else "(none)")


def doccano(tmp_path, *rows):
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("word", ["four", "nan"])
def test_a_score_that_is_no_number_is_named(tmp_path, word):
    file = doccano(tmp_path, {"id": 1, "text": "x", "label": ["4"]}, {"id": 2, "text": "y", "label": [word]})
    with pytest.raises(ExportError, match=rf"all.jsonl, .*field 'label': expected a number, got '{word}'"):
        FromTool(file, "doccano", kind="score").settled()


def test_a_person_who_answered_twice_has_one_vote(tmp_path):
    rows = [
        {"text": "x", "label": ["good"], "username": "ann"},
        {"text": "x", "label": ["good"], "username": "ann"},
        {"text": "x", "label": ["bad"], "username": "ben"},
    ]
    file = tmp_path / "answers.json"
    task = {"id": 1, "data": {"text": "x"}, "annotations": []}
    for i, row in enumerate(rows):
        choice = {"type": "choices", "from_name": "label", "to_name": "text"}
        result = [{**choice, "value": {"choices": row["label"]}}]
        task["annotations"].append({"id": i, "result": result, "completed_by": {"email": row["username"]}})
    file.write_text(json.dumps([task]))
    found, told = FromTool(str(file), "label_studio").settled()
    assert (found, told["open"]) == ([], 1)


def test_ids_that_are_made_up_are_not_those_that_are_there(tmp_path):
    lines = [{"text": "no id", "label": ["good"]}, {"text": "zero", "label": ["bad"], "id": "0"}]
    lines = [{**line, "meta": {}} for line in lines]
    found, _ = FromTool(doccano(tmp_path, *lines), "doccano").settled()
    assert len({row["id"] for row in found}) == 2


@pytest.mark.parametrize(
    ("classes", "kind"), [(("good",), "single"), (("a", " "), "single"), (("a|b", "c"), "multi")]
)
def test_classes_that_could_not_come_back_are_refused_before_people_answer(tmp_path, classes, kind):
    texts = Dataset.from_dict({"id": ["1"], "text": ["x"]})
    with pytest.raises(ExportError, match=r"class"):
        ToTool(texts, "doccano", str(tmp_path / "t"), classes=classes, kind=kind).run()
    assert not (tmp_path / "t").exists()


def test_a_project_of_ones_own_calls_text_and_label_otherwise(folder, tmp_path):
    out, truth = folder
    ToTool(str(out), "label_studio", str(tmp_path / "t")).run()
    file = people("label_studio", tmp_path / "t", {"r1": truth["r1"]}.get, tmp_path / "anna.json")
    file.write_text(file.read_text().replace('"from_name": "label"', '"from_name": "mood"'))
    refused = run("answers", "import", out, file, "--from", "label_studio", code=1)
    assert "mood" in refused.stderr
    words = ("answers", "import", out, file, "--from", "label_studio", "--label-column", "mood", "--json")
    assert json.loads(run(*words).stdout)["answered"] == 1
    with pytest.raises(AuditError, match="text_column and label_column are for files of a labeling tool"):
        audit.import_answers(out, file, label_column="mood")


def test_a_column_that_would_pass_for_the_label_is_refused(folder, tmp_path):
    rows = read_annotations(folder[0]).add_column("textlabel_label", ["x"] * 60)
    with pytest.raises(ExportError, match="column 'textlabel_label' is where a task of Label Studio"):
        load("export", "label_studio").write(rows, tmp_path / "t", {})
    assert not (tmp_path / "t").exists()
