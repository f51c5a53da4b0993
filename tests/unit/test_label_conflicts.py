"""Labels that contradict each other, listed with their rows."""

import csv
import json

import pytest
from datasets import Dataset
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.errors import RecipeError
from textlabel.label_conflicts import NEAR, SAME, Conflict, Conflicts, conflicts

LONG = "The food was very good and the people there were kind to all of us"


def test_same_texts_come_first_then_the_nearest():
    texts = [LONG, f"{LONG}!", "x", LONG.upper(), "X ", f"{LONG}, twice."]
    labels = ["good", "bad", "a", "good", "b", "bad"]
    first, second, third = conflicts(texts, labels, 0.7)
    assert first == Conflict(SAME, 1.0, (2, 4))
    assert (second.kind, second.rows) == (NEAR, (0, 1, 3))
    assert third.rows == (0, 3, 5)
    assert 0.7 < third.similarity < second.similarity < 1


def test_near_texts_with_a_label_in_common_do_not_conflict():
    assert conflicts([LONG, f"{LONG}!"], ["good", "good"]) == []
    (only,) = conflicts([LONG, LONG, f"{LONG}!"], ["good", "bad", "bad"])
    assert only.kind == SAME


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def test_the_command(tmp_path):
    file, out = tmp_path / "rows.csv", tmp_path / "list.csv"
    file.write_text(f"id,text,label\na,{LONG},good\nb,{LONG}!,bad\nc,fine,good\nd,Fine,bad\ne,other,bad\n")
    told = json.loads(run("conflicts", file, "--out", out, "--json").stdout)
    assert told == {"rows": 5, "contradictions": 1, "near_duplicates": 1, "rows_listed": 4, "out": str(out)}
    with out.open(encoding="utf-8", newline="") as rows:
        listed = [(row["group"], row["kind"], row["id"], row["label"]) for row in csv.DictReader(rows)]
    assert listed == [
        ("1", SAME, "c", "good"),
        ("1", SAME, "d", "bad"),
        ("2", NEAR, "a", "good"),
        ("2", NEAR, "b", "bad"),
    ]
    assert "is there already" in run("conflicts", file, "--out", out, code=1).stderr
    assert "near = 1.5" in run("conflicts", file, "--out", tmp_path / "x.csv", "--near", 1.5, code=1).stderr


def test_several_classes_in_any_order(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\nfine,a|b\nFine,b|a\nok,a\nok,a|b\n")
    told = Conflicts(str(file), str(tmp_path / "list.jsonl"), label_kind="multi").run()
    assert told["contradictions"] == 1
    first = json.loads((tmp_path / "list.jsonl").read_text().splitlines()[0])
    assert (first["text"], first["label"]) == ("ok", "a")
    rows = Dataset.from_dict({"text": ["ok", "OK"], "label": ["a", "b"]})
    assert Conflicts(rows, str(tmp_path / "more.csv")).run()["contradictions"] == 1
    with pytest.raises(RecipeError, match="scores differ by degrees"):
        Conflicts(str(file), str(tmp_path / "x.csv"), label_kind="score").run()
