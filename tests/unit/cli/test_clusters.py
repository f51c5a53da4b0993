"""`textlabel clusters`: every option reaches the clusters, tables tell them, and the file trains a model."""

from __future__ import annotations

import csv
import json

import pytest
from commands import run, told
from tiny import snippets

from textlabel.text_clusters import TextClusters


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with a corpus, and the same one in a user's own columns."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in snippets(60)))
    with (folder / "user.csv").open("w", newline="") as file:
        rows = [(row["id"], "a phone", row["text"]) for row in snippets(60)]
        csv.writer(file).writerows([("nr", "about", "review"), *rows])
    return folder


def test_the_clusters_are_those_of_python(files, tiny_backbone):
    words = ("clusters", files / "corpus.jsonl", "--backbone", tiny_backbone, "--max-clusters", 3)
    names = ("--names", "good film, bad phone", "--seed", 3, "--no-cache")
    expected = TextClusters(
        str(files / "corpus.jsonl"),
        backbone=str(tiny_backbone),
        max_clusters=3,
        names=("good film", "bad phone"),
        seed=3,
        cache=False,
    ).run()
    assert told(*words, *names) == expected
    assert told(*words, "--clusters", 4)["clusters"] == 4


def test_people_get_tables(files, tiny_backbone):
    words = ("clusters", files / "corpus.jsonl", "--backbone", tiny_backbone, "--max-clusters", 3)
    text = run(*words, "--names", "good,bad").stdout
    assert "verdict " in text
    numbers, groups, texts, tried = text.split("\n\n")
    assert numbers.startswith("rows      60")
    assert groups.splitlines()[0].split() == ["cluster", "rows", "share", "terms", "nearest", "name", "score"]
    assert texts.splitlines()[0] == "cluster  central texts"
    lines = tried.strip().splitlines()
    assert [line.startswith("*") for line in lines].count(True) == 1
    assert len(lines) == 3
    given = run(*words[:4], "--clusters", 2).stdout
    assert "verdict" not in given
    assert "nearest name" not in given
    assert len(given.split("\n\n")) == 3


def test_a_users_own_columns(files, tiny_backbone, tmp_path):
    command = ("clusters", files / "user.csv", "--clusters", 2, "--backbone", tiny_backbone)
    assert "there is no column 'text'" in run(*command, code=1).stderr
    out = tmp_path / "groups.csv"
    columns = ("--text-column", "about", "--text-column", "review", "--id-column", "nr")
    assert told(*command, *columns, "--out", out)["out"] == str(out)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "cluster", "name", "distance", "central"]
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(60)]
    assert rows[0]["text"].startswith("a phone\n")


@pytest.mark.parametrize("column", ["cluster", "name"])
def test_the_file_trains_a_model(files, tiny_backbone, tmp_path, column):
    out, model = tmp_path / "groups.csv", tmp_path / "model"
    groups = told(
        "clusters", files / "corpus.jsonl", "--clusters", 2, "--backbone", tiny_backbone, "--out", out
    )
    if column == "name":  # as a person edits it
        first = groups["groups"][0]["name"]
        text = out.read_text()
        assert text.count(f",{first},") == groups["groups"][0]["rows"]
        out.write_text(text.replace(f",{first},", ",my own label,"))
    fitted = told("fit", out, "--label-column", column, "--backbone", tiny_backbone, "--out", model)
    expected = {"cluster": {"1", "2"}, "name": {"my own label", groups["groups"][1]["name"]}}[column]
    assert set(fitted["classes"]) == expected
    labeled = told("annotate", files / "corpus.jsonl", "--model", model, "--out", tmp_path / "labeled")
    assert sum(labeled["labels"].values()) == 60


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--clusters", 1), 1, "clusters = 1: expected 2 or more"),
        (("--clusters", "x"), 2, "--clusters"),
        (("--clusters", 31), 1, "60 different texts; expected 62 or more for 31 clusters"),
        (("--names", ","), 1, "names: '' is no name"),
        (("--names", "one"), 1, "names: only 'one'"),
        (("--out", "groups.txt"), 1, "groups.txt: expected a file that ends in .csv, .jsonl or .parquet"),
        (("--on-bad-row", "skp"), 1, "on_bad_row='skp' is unknown: did you mean 'skip'?"),
        (("--config", "v2"), 1, "has no config 'v2'"),
    ],
)
def test_wrong_input_is_told(files, tiny_backbone, words, code, message):
    done = run("clusters", files / "corpus.jsonl", "--backbone", tiny_backbone, *words, code=code)
    assert message in done.stderr


def test_odd_texts(tiny_backbone, tmp_path):
    odd = [
        "=1+1",
        'a "quote", and more',
        "line\nbreak",
        "\u202eright to left",
        "電影",
        "good",
        "\U0001f600",
        "0",
    ]
    path, out = tmp_path / "odd.jsonl", tmp_path / "odd.csv"
    path.write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in [*odd, *(f"{t} film" for t in odd)])
    )
    told("clusters", path, "--clusters", 2, "--backbone", tiny_backbone, "--out", out)
    with out.open(encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)][: len(odd)] == odd
