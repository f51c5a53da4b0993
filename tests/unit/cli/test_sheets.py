"""Sheets with undecided answers, given to `fit` and `annotate`: such rows are left out, and counted."""

from __future__ import annotations

import csv
import json

import pytest
from commands import run
from tiny import snippets


def sheet(path, rows, undecided):
    """Write ``rows`` as an answered to-do sheet, on which the ``undecided`` first were left open."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["textlabel_sheet", "id", "text", "label", "note"])
        for i, row in enumerate(rows):
            label = ("unsure", "skip")[i % 2] if i < undecided else row["label"]
            writer.writerow([f"todo/{i}", row["id"], row["text"], label, ""])
    return path


def scored(rows):
    return [{**row, "label": float(len(row["text"]))} for row in rows]


@pytest.mark.parametrize(("recipe", "change"), [("head", list), ("regression", scored)])
def test_training_and_validation_sheets(tiny_backbone, tmp_path, recipe, change, caplog):
    train = sheet(tmp_path / "train.csv", change(snippets(44)), undecided=4)
    held = sheet(tmp_path / "held.csv", change(snippets(20, seed=1)), undecided=3)
    done = run(
        *("fit", train, "--validation", held, "--recipe", recipe, "--backbone", tiny_backbone),
        *("--out", tmp_path / "model", "--json"),
    )
    labels = json.loads(done.stdout)["labels"]
    assert labels["train"] == 40
    assert labels["audit"] == 40 + 17  # rows that were picked after an audit
    assert "4 of 44 rows are left out" in done.stderr + caplog.text
    assert "3 of 20 rows are left out" in done.stderr + caplog.text
    run("annotate", held, "--model", tmp_path / "model", "--out", tmp_path / "out", "--gold", held)
    record = json.loads((tmp_path / "out" / "textlabel.json").read_text())
    assert (record["rows"], record["decided_by"]["gold"]) == (20, 17)


def test_a_class_called_skip_is_learned(tiny_backbone, tmp_path):
    rows = [{**row, "label": row["label"].replace("negative", "skip")} for row in snippets(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = sheet(tmp_path / "held.csv", rows, undecided=1)
    done = run(
        *("fit", tmp_path / "train.jsonl", "--validation", held, "--backbone", tiny_backbone),
        *("--out", tmp_path / "model", "--json"),
    )
    assert json.loads(done.stdout)["classes"] == ["positive", "skip"]
    assert json.loads(done.stdout)["labels"] == {"train": 40, "calibration": "out-of-fold (5)", "audit": 39}


def test_scores_beside_words_under_another_label_column(tiny_backbone, tmp_path):
    rows = [
        {
            "textlabel_sheet": f"todo/{i}",
            "text": row["text"],
            "stars": "unsure" if i < 4 else len(row["text"]),
        }
        for i, row in enumerate(snippets(44))
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fit = ("fit", tmp_path / "train.jsonl", "--recipe", "regression", "--label-column", "stars")
    done = run(*fit, "--backbone", tiny_backbone, "--out", tmp_path / "model", "--json")
    assert json.loads(done.stdout)["labels"]["train"] == 40
