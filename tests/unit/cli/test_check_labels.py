"""The list of suspicious labels, and training without them, by commands alone."""

from __future__ import annotations

import csv
import json

import pytest
from tiny import snippets
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.trust import label_errors

OTHER = {"positive": "negative", "negative": "positive"}
WRONG = {f"r{i}" for i in range(0, 120, 10)}


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def train(tmp_path):
    rows = [{**r, "label": OTHER[r["label"]] if r["id"] in WRONG else r["label"]} for r in snippets(120)]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_list_for_a_person(train, tiny_backbone, tmp_path):
    out = tmp_path / "lists/suspicious.csv"
    told = json.loads(run("check-labels", train, "--out", out, "--backbone", tiny_backbone, "--json").stdout)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert told["rows"] == 120
    assert told["likely_wrong"] == len(rows) > 5
    assert list(rows[0]) == ["id", "text", "label", "suggested_label", "self_confidence"]
    assert all(row["suggested_label"] == OTHER[row["label"]] for row in rows)
    confidences = [float(row["self_confidence"]) for row in rows]
    assert confidences == sorted(confidences)
    assert len(WRONG & {row["id"] for row in rows}) >= 9
    assert 0.05 < told["wrong_share"] < 0.5
    assert 0.5 < told["heads_agree"] < 0.95
    assert {(pair["given"], pair["likely"]) for pair in told["confusion"]} == set(OTHER.items())
    assert sum(pair["share"] for pair in told["confusion"]) == pytest.approx(told["wrong_share"], abs=1e-3)


def test_jsonl_for_people_who_read_the_screen(train, tiny_backbone, tmp_path):
    out = tmp_path / "suspicious.jsonl"
    told = run("check-labels", train, "--out", out, "--backbone", tiny_backbone, "--no-cache", "--seed", 1)
    assert "likely wrong" in told.stdout
    assert "share of rows" in told.stdout
    first = json.loads(out.read_text().splitlines()[0])
    assert {"id", "text", "label", "suggested_label", "self_confidence"} == set(first)
    again = run("check-labels", train, "--out", out, "--backbone", tiny_backbone, code=1)
    assert "is there already" in again.stderr


def test_columns_ids_and_bad_rows(train, tiny_backbone, tmp_path):
    rows = [json.loads(line) for line in train.read_text().splitlines()]
    renamed = [{"key": r["id"], "review": r["text"], "mood": r["label"]} for r in rows]
    renamed[3]["review"] = ""
    path, out, rejects = (tmp_path / name for name in ("renamed.jsonl", "out.csv", "rejects.jsonl"))
    path.write_text("".join(json.dumps(row) + "\n" for row in renamed))
    command = ("check-labels", path, "--out", out, "--backbone", tiny_backbone, "--json")
    columns = ("--text-column", "review", "--label-column", "mood", "--id-column", "key")
    assert "there is no column 'text'" in run(*command, code=1).stderr
    assert "row 4" in run(*command, *columns, code=1).stderr
    told = run(*command, *columns, "--on-bad-row", "skip", "--reject-file", rejects)
    assert json.loads(told.stdout)["rows"] == 119
    assert len(rejects.read_text().splitlines()) == 1
    with out.open(encoding="utf-8", newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} <= {row["key"] for row in renamed}


def test_nothing_suspicious_is_an_empty_list(tiny_backbone, tmp_path):
    rows = [{"text": text, "label": text} for text in ("good good", "awful awful")]
    path = tmp_path / "train.jsonl"
    rows = [{**row, "text": f"{row['text']} {i}"} for i in range(20) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out.csv"
    told = json.loads(run("check-labels", path, "--out", out, "--backbone", tiny_backbone, "--json").stdout)
    assert (told["likely_wrong"], told["confusion"]) == (0, [])
    assert out.read_text().splitlines() == ["id,text,label,suggested_label,self_confidence"]


def test_without_cleanlab(train, tiny_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(label_errors, "find_spec", lambda name: None)
    command = ("check-labels", train, "--out", tmp_path / "out.csv", "--backbone", tiny_backbone)
    assert "check-labels needs cleanlab: pip install 'textlabel[cleanlab]'" in run(*command, code=1).stderr


@pytest.mark.parametrize("mode", ["keep", "prune", "soft"])
def test_training_with_noisy_labels(train, tiny_backbone, tmp_path, mode):
    model = tmp_path / "model"
    command = ("fit", train, "--out", model, "--backbone", tiny_backbone, "--noisy-labels", mode)
    labels = json.loads(run(*command, "--json").stdout)["labels"]
    assert labels["train"] == 120
    assert (labels.get("likely_wrong", 0) >= 9) == (mode != "keep")
    card = (model / "README.md").read_text()
    assert ("likely wrong" in card) == (mode != "keep")


def test_soft_labels_and_a_body_that_trains(train, tiny_backbone, tmp_path):
    command = ("fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone)
    done = run(*command, "--noisy-labels", "soft", "--recipe", "lora", code=1)
    assert "noisy_labels = 'soft' makes probabilities of labels" in done.stderr


def test_a_job_takes_the_key_too(train, tiny_backbone, tmp_path):
    job = f'[fit]\ntrain = "{train}"\nout = "{tmp_path / "model"}"\nbackbone = "{tiny_backbone}"\n'
    (tmp_path / "job.toml").write_text(f'{job}noisy_labels = "prune"\n')
    run("run", tmp_path / "job.toml")
    record = json.loads((tmp_path / "model/textlabel.json").read_text())["record"]
    assert record["labels"]["likely_wrong"] > 5
