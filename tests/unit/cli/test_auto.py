"""`textlabel fit --recipe auto` and the options that come with it."""

from __future__ import annotations

import json

import pytest
from tiny import snippets
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.engine import lexical


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(lexical, "STRENGTHS", (1e6,))  # or TF-IDF beats a backbone of random weights
    rows = snippets(60)
    for name, some in (("train", rows[:30]), ("corpus", [{"text": r["text"]} for r in rows[30:]])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (tmp_path / "words.json").write_text(json.dumps({"positive": "a good film", "negative": "a bad film"}))
    return tmp_path


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def fit(files, backbone, *more, code=0):
    recipe = ["--recipe", "auto", "--backbone", backbone, "--budget", "0"]
    return run("fit", files / "train.jsonl", *recipe, "--out", files / "model", *more, code=code)


def test_the_table_tells_what_was_tried(files, tiny_backbone):
    lines = fit(files, tiny_backbone, "--unlabeled", files / "corpus.jsonl").stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("tried"))
    assert [line.split()[0] for line in lines[start + 1 : start + 6]] == [
        "auto", "auto", "TF-IDF", "contrastive", "lora",
    ]  # fmt: skip
    assert sum("chosen" in line for line in lines[start:]) == 1
    assert sum("no time" in line for line in lines[start:]) == 2


def test_json_record_and_card_tell_it_too(files, tiny_backbone):
    words = ["--descriptions", files / "words.json", "--unlabeled", files / "corpus.jsonl", "--json"]
    summary = json.loads(fit(files, tiny_backbone, *words).stdout)
    assert [trial["verdict"] for trial in summary["tried"]].count("chosen") == 1
    labeler = Labeler.load(files / "model")
    assert labeler.record()["tried"] == summary["tried"]
    assert set(labeler.record()["head"]) == {"l2", "name_weight", "spread"}
    assert labeler.schema.descriptions == ("a bad film", "a good film")


def test_layers_that_are_asked_for(files, tiny_backbone):
    summary = json.loads(fit(files, tiny_backbone, "--layers", "1", "--json").stdout)
    assert [trial["layers"] for trial in summary["tried"] if trial["name"] == "auto"] == [1]
    fit(files, tiny_backbone, "--layers", "2", "--recipe", "head")
    assert Labeler.load(files / "model").bundle.classifier.info.layers == 2
    assert "expected 1 to 2" in str(fit(files, tiny_backbone, "--layers", "3", code=1).output)


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--descriptions", "[1]", "expected one JSON object"),
        ("--descriptions", '{"positve": "x"}', "did you mean 'positive'"),
        ("--descriptions", '{"positive": " "}', "expected words"),
        ("--descriptions", "{", "no JSON of descriptions"),
        ("--budget", "5x", "expected a time such as 90s"),
    ],
)
def test_bad_values(files, tiny_backbone, option, content, message):
    (files / "bad.json").write_text(content)
    value = files / "bad.json" if option == "--descriptions" else content
    assert message in fit(files, tiny_backbone, option, value, code=1).output
    assert not (files / "model").exists()
