"""`textlabel choose-backbone` and `choose-source`: every option reaches the choice, and tables tell it."""

from __future__ import annotations

import csv
import json

import pytest
from commands import run, told
from tiny import snippets, write_backbone

from textlabel.choose import choose_backbone, choose_source


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_backbone):
    """Return a folder with labeled corpora, one in a user's own columns, and a second backbone."""
    folder = tmp_path_factory.mktemp("user")
    far = [{**row, "text": f"{row['text']} phone screen phone"} for row in snippets(60, seed=3)]
    corpora = {"train": snippets(60), "near": snippets(60, seed=1), "far": far, "few": snippets(24, seed=2)}
    corpora["bad"] = [*snippets(60), {"id": "x", "text": " ", "label": "positive"}]
    corpora["one"] = [{**row, "label": "positive"} for row in snippets(60)]
    for name, rows in corpora.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "user.csv").open("w", newline="") as file:
        rows = [("a phone", row["text"], row["label"]) for row in corpora["train"]]
        csv.writer(file).writerows([("about", "review", "verdict"), *rows])
    write_backbone(folder / "other", "distilbert", seed=3)
    return folder


# --- choose-backbone ------------------------------------------------------------------------------


def test_the_choice_is_that_of_python(files, tiny_backbone):
    names = [str(tiny_backbone), str(files / "other")]
    found = told("choose-backbone", files / "train.jsonl", "--candidates", *names, "--seed", 3)
    expected = choose_backbone(str(files / "train.jsonl"), names, seed=3).to_json()
    for row in (*found["backbones"], *expected["backbones"]):
        del row["texts_per_second"]
    assert found["backbones"] == expected["backbones"]
    assert found["best"] in names
    other = told("choose-backbone", files / "train.jsonl", "--candidates", *names, "--seed", 4)
    assert other["backbones"][0]["nll"] != found["backbones"][0]["nll"]


def test_people_get_a_table_with_the_choice_marked_and_the_reason(files, tiny_backbone):
    words = ("choose-backbone", files / "train.jsonl", "--candidates", tiny_backbone, "--candidates")
    lines = run(*words, files / "other").stdout.splitlines()
    headings = ["backbone", "accuracy", "nll", "behind", "LogME", "H-score", "texts/s", "MB"]
    assert lines[0].split() == headings
    marked = [line for line in lines[1:3] if line.startswith("*")]
    assert len(marked) == 1
    chosen = marked[0].split()[1]
    assert lines[3] == ""
    assert lines[4].startswith(chosen)
    assert "standard error" in lines[4]


def test_backbone_columns_bad_rows_and_samples(files, tiny_backbone):
    own = ("choose-backbone", files / "user.csv", "--candidates", tiny_backbone)
    assert "there is no column 'text'" in run(*own, code=1).stderr
    own += ("--text-column", "review", "--label-column", "verdict")
    plain = told("choose-backbone", files / "train.jsonl", "--candidates", tiny_backbone)
    assert told(*own)["backbones"][0]["accuracy"] == plain["backbones"][0]["accuracy"]
    assert told(*own, "--text-column", "about")["backbones"][0]["nll"] != plain["backbones"][0]["nll"]
    bad = ("choose-backbone", files / "bad.jsonl", "--candidates", tiny_backbone)
    assert "the text is empty" in run(*bad, code=1).stderr
    assert told(*bad, "--on-bad-row", "skip")["backbones"][0]["nll"] == plain["backbones"][0]["nll"]
    few = told("choose-backbone", files / "train.jsonl", "--candidates", tiny_backbone, "--max-rows", 30)
    assert few["backbones"][0]["accuracy_error"] > plain["backbones"][0]["accuracy_error"]


@pytest.mark.parametrize("command", ["backbone", "source"])
def test_features_are_cached_unless_told_otherwise(files, tiny_backbone, tmp_path, monkeypatch, command):
    words = {
        "backbone": ("choose-backbone", files / "train.jsonl", "--candidates", tiny_backbone),
        "source": (
            *("choose-source", files / "train.jsonl", "--backbone", tiny_backbone),
            *("--sources", files / "near.jsonl"),
        ),
    }[command]
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "own"))
    run(*words, "--no-cache")
    assert not (tmp_path / "own").exists()
    run(*words)
    assert list((tmp_path / "own").rglob("*.safetensors"))


def test_speed_may_be_preferred(files, tiny_backbone, monkeypatch):
    monkeypatch.setattr("textlabel.choose.backbone.AS_FAST", 1.0)
    names = (tiny_backbone, files / "other")
    words = ("choose-backbone", files / "train.jsonl", "--candidates", *names)
    by_speed, plain = told(*words, "--prefer", "speed"), told(*words)
    near = [row for row in by_speed["backbones"] if row["behind"] <= row["behind_error"]]
    assert by_speed["best"] == max(near, key=lambda row: row["texts_per_second"])["backbone"]
    assert plain["best"] == max(near, key=lambda row: row["logme"])["backbone"]
    assert "prefer = 'cost' is unknown" in run(*words, "--prefer", "cost", code=1).stderr


def test_what_backbones_cannot_be_judged_by_is_told(files, tiny_backbone):
    one = run("choose-backbone", files / "one.jsonl", "--candidates", tiny_backbone, code=1)
    assert "add labeled rows of another class" in one.stderr
    unknown = run("choose-backbone", files / "train.jsonl", "--candidates", "all-MiniLM", code=1)
    assert "unknown backbone 'all-MiniLM'" in unknown.stderr
    assert "--candidates" in run("choose-backbone", files / "train.jsonl", "--candidates", code=2).stderr


# --- choose-source --------------------------------------------------------------------------------


def test_sources_are_ordered_as_in_python(files, tiny_backbone):
    sources = [str(files / "far.jsonl"), str(files / "near.jsonl")]
    words = ("choose-source", files / "train.jsonl", "--sources", *sources, "--backbone", tiny_backbone)
    target = str(files / "train.jsonl")
    expected = choose_source(target, sources, backbone=str(tiny_backbone)).to_json()
    assert told(*words) == expected
    assert expected["best"] == sources[1]
    labeled = told(*words, "--target-labels", files / "few.jsonl", "--seed", 2)
    few = str(files / "few.jsonl")
    again = choose_source(target, sources, few, backbone=str(tiny_backbone), seed=2).to_json()
    assert labeled == again
    assert labeled["decided_by"] == "likelihood, then mmd"
    assert told(*words, "--max-rows", 30)["sources"][0]["rows"] == 30
    assert told(*words, "--max-rows", 30, "--seed", 1) != told(*words, "--max-rows", 30)


def test_people_get_a_table_best_first(files, tiny_backbone):
    sources = (files / "far.jsonl", files / "near.jsonl")
    words = ("choose-source", files / "train.jsonl", "--backbone", tiny_backbone, "--sources", *sources)
    lines = run(*words).stdout.splitlines()
    assert lines[0].split() == ["source", "MMD", "A-distance", "Jaccard", "known", "words"]
    assert lines[1].split()[:2] == ["*", str(sources[1])]
    assert lines[2].split()[0] == str(sources[0])
    assert lines[4].startswith(f"{sources[1]}: its texts are the nearest")
    labeled = run(*words, "--target-labels", files / "few.jsonl").stdout.splitlines()
    assert labeled[0].split()[-4:] == ["accuracy", "likelihood", "LEEP", "NCE"]


def test_source_columns_and_bad_rows(files, tiny_backbone):
    words = (
        "choose-source",
        files / "user.csv",
        "--backbone",
        tiny_backbone,
        "--sources",
        files / "user.csv",
    )
    assert "there is no column 'text'" in run(*words, code=1).stderr
    words += ("--text-column", "review")
    assert told(*words)["sources"][0]["rows"] == 60
    words += ("--target-labels", files / "user.csv")
    assert "there is no column 'label'" in run(*words, code=1).stderr
    same = run(*words, "--label-column", "verdict", code=1).stderr
    assert "only 0 of its rows are not among the labeled rows of the target" in same
    bad = (
        "choose-source",
        files / "near.jsonl",
        "--backbone",
        tiny_backbone,
        "--sources",
        files / "bad.jsonl",
    )
    assert "the text is empty" in run(*bad, code=1).stderr
    assert told(*bad, "--on-bad-row", "skip")["sources"][0]["rows"] == 60


def test_sources_must_be_named(files):
    assert "--sources" in run("choose-source", files / "train.jsonl", code=2).stderr
    swallowed = run("choose-source", "--sources", files / "near.jsonl", files / "train.jsonl", code=2)
    assert "TARGET" in swallowed.stderr
