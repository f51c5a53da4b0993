"""Rows that may carry several classes, or none, by commands alone."""

from __future__ import annotations

import csv
import errno
import json

import numpy as np
import pytest
from commands import run, told
from fsspec.implementations.local import LocalFileSystem
from tiny import several

from textlabel.engine import shards
from textlabel.export._read import read_annotations, read_record

TRAIN, NEW = several(200), several(120, seed=1)


def write(path, rows):
    """Write rows as csv, their classes joined by a semicolon."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {**row, "label": " ; ".join(row["label"])} if "label" in row else row for row in rows
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_backbone):
    """Return a folder with labeled and unlabeled rows, and a model."""
    folder = tmp_path_factory.mktemp("several")
    write(folder / "train.csv", TRAIN)
    write(folder / "gold.csv", NEW)
    write(folder / "corpus.csv", [{"id": row["id"], "text": row["text"]} for row in NEW])
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TRAIN))
    fit = ("fit", folder / "train.csv", "--label-separator", ";", "--recipe", "multilabel")
    summary = told(*fit, "--backbone", tiny_backbone, "--out", folder / "model")
    assert summary["classes"] == ["film", "phone", "praise"]
    assert summary["calibrator"] == {"name": "per_label"}
    return folder


@pytest.fixture
def annotate(home, tmp_path):
    def command(*words, out="out", **options):
        return run(
            "annotate",
            home / "corpus.csv",
            "--model",
            home / "model",
            "--out",
            tmp_path / out,
            *words,
            **options,
        )

    return command


def same(first, second):
    """Look whether rows are the same; last digits depend on what a text is read beside."""
    found, expected = map(read_annotations, (first, second))
    assert found["label"][:] == expected["label"][:]
    np.testing.assert_allclose(found["confidence"], expected["confidence"], rtol=1e-4)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "dataset"])
def test_from_labeled_rows_to_an_evaluation(home, annotate, tmp_path, form):
    summary = json.loads(annotate("--format", form, "--json").stdout)
    rows = read_annotations(tmp_path / "out")
    carried = [name for codes in rows["label"] for name in codes]
    assert summary["labels"] == {name: carried.count(i) for i, name in enumerate(["film", "phone", "praise"])}
    assert summary["estimated_accuracy"] is None
    found = told("evaluate", tmp_path / "out", "--gold", home / "gold.csv", "--label-separator", ";")
    assert found["n"] == 120
    assert found["subset_accuracy"] > 0.3
    assert found["hamming_loss"] < 0.3
    assert min(found["micro_f1"], found["macro_f1"]) > 0.7
    assert 0 <= found["macro_ece"] < 0.2
    assert found["per_class"].keys() == {"film", "phone", "praise"}
    table = run("evaluate", tmp_path / "out", "--gold", home / "gold.csv", "--label-separator", ";").stdout
    assert "all classes of a row right" in table


def test_lists_and_joined_names_teach_the_same(home, annotate, tmp_path, tiny_backbone):
    fit = ("fit", home / "train.jsonl", "--recipe", "multilabel", "--backbone", tiny_backbone)
    run(*fit, "--out", tmp_path / "model")
    annotate()
    run("annotate", home / "corpus.csv", "--model", tmp_path / "model", "--out", tmp_path / "again")
    same(tmp_path / "again", tmp_path / "out")


def test_annotated_rows_are_labeled_rows_again(home, annotate, tmp_path, tiny_backbone):
    annotate("--format", "csv")
    labeled = tmp_path / "out/annotations.csv"
    fit = ("fit", labeled, "--label-separator", "|", "--recipe", "multilabel")
    assert told(*fit, "--backbone", tiny_backbone, "--out", tmp_path / "model")["labels"]["train"] == 120


def test_what_people_said_stands(home, annotate, tmp_path):
    summary = json.loads(annotate("--gold", home / "gold.csv", "--label-separator", ";", "--json").stdout)
    assert summary["decisions"] == {"accepted": 120, "review": 0, "out_of_scope": 0}
    rows = read_annotations(tmp_path / "out")
    names = rows.features["label"].feature.names
    assert [[names[c] for c in codes] for codes in rows["label"]] == [sorted(row["label"]) for row in NEW]
    assert set(rows["source"]) == {"human"}


def test_thresholds_and_sets_that_were_asked_for(home, tmp_path, tiny_backbone):
    fit = ("fit", home / "train.jsonl", "--recipe", "multilabel", "--backbone", tiny_backbone)
    run(*fit, "--out", tmp_path / "model", "--threshold", "f1", "--sets", "class", "--set-alpha", "0.2")
    run("annotate", home / "corpus.csv", "--model", tmp_path / "model", "--out", tmp_path / "out")
    record = read_record(tmp_path / "out")
    assert record["threshold"] == "f1"
    assert record["sets"] == {"kind": "class", "alpha": 0.2}
    assert "| threshold of classes | f1 |" in (tmp_path / "out/README.md").read_text()
    rows = read_annotations(tmp_path / "out")
    names = rows.features["label"].feature.names
    pairs = zip(rows["label"], rows["prediction_set"], strict=True)
    assert all({names[c] for c in codes} <= set(found) for codes, found in pairs)
    assert (
        "threshold = 'f3' is unknown"
        in run(*fit, "--out", tmp_path / "no", "--threshold", "f3", code=1).stderr
    )


def test_a_job_says_it_all(home, tmp_path, tiny_backbone):
    job = tmp_path / "job.toml"
    job.write_text(f"""
[fit]
train = "{home}/train.csv"
label_separator = ";"
recipe = "multilabel"
backbone = "{tiny_backbone}"
out = "model"

[annotate]
corpus = "{home}/corpus.csv"
out = "out"

[evaluate]
gold = "{home}/gold.csv"
label_separator = ";"
""")
    assert told("run", job)["evaluate"]["micro_f1"] > 0.7


def test_a_stopped_run_goes_on(annotate, tmp_path, monkeypatch):
    annotate(out="whole")
    monkeypatch.setattr(shards, "LEAST_ROWS", 32)
    pipe = LocalFileSystem.pipe_file

    def full(self, path, *rest, **options):
        if path.endswith("shard-00002.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        pipe(self, path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "pipe_file", full)
        annotate("--no-cache", code=1)
    assert "resuming: 2 of 4" in annotate("--no-cache", "--resume").stderr
    same(tmp_path / "out", tmp_path / "whole")


def test_what_cannot_be_had_is_told_in_a_line(home, annotate, tmp_path, tiny_backbone):
    fit = ("fit", home / "train.csv", "--backbone", tiny_backbone, "--out", tmp_path / "model")
    missing = run(*fit, "--recipe", "multilabel", code=1).stderr
    assert "expected a list of class names a row, got string: parted by what?" in missing
    assert (
        "labels of kind 'multi', as recipe 'multilabel' reads"
        in run(*fit, "--label-separator", ";", code=1).stderr
    )
    assert "is for one label a row" in annotate("--correct-label-shift", code=1).stderr
    assert "name a column of numbers" in annotate("--order-by", "entropy", code=1).stderr
    annotate()
    optimize = run("optimize", home / "model", "--on", home / "corpus.csv", code=1).stderr
    assert "label with backend torch" in optimize


def test_classes_that_a_cell_cannot_hold_are_told_before_any_row_is_read(tmp_path, tiny_backbone):
    rows = [{"text": text, "label": label} for text, label in [("good", ["a|b"]), ("bad", ["c"])] * 8]
    rows = [{**row, "text": f"{row['text']} {i}"} for i, row in enumerate(rows)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("fit", tmp_path / "train.jsonl", "--recipe", "multilabel", "--backbone", tiny_backbone)
    run(*words, "--out", tmp_path / "model")
    words = ("annotate", tmp_path / "no-such.jsonl", "--model", tmp_path / "model", "--out", tmp_path / "out")
    assert "'a|b' would be lost" in run(*words, "--format", "csv", code=1).stderr
