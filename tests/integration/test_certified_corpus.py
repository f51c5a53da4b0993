"""A real model, a real corpus, an audit, and a finished file whose wrong labels are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run, told
from sealed import fill

from textlabel.demo import NAMES, draw
from textlabel.export._read import read_annotations, read_record

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_exported_file_holds_no_more_wrong_labels_than_certified(tmp_path):
    train, corpus, codes = draw(NAMES[3], films=300, seed=0)
    truth = {name: NAMES[3][code] for name, code in codes.items()}
    corpus = corpus[:1500]
    for name, rows in (("train", train), ("corpus", corpus)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, labeled, done = (tmp_path / name for name in ("model", "labeled", "done"))
    told("fit", tmp_path / "train.jsonl", "--out", model)
    # a tenth of the corpus has gold already, and is left out of the population
    gold = [{"text": row["text"], "label": truth[row["id"]]} for row in corpus[:150]]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    told(
        *("annotate", tmp_path / "corpus.jsonl", "--model", model, "--out", labeled),
        *("--gold", tmp_path / "gold.jsonl", "--out-of-scope-rate", 0.01),
    )
    assert told("plan", labeled, "--max-error", 0.1)["population"] == 1350
    drawn = told("audit", "draw", labeled, "--size", 400, "--seed", 1)
    fill(Path(drawn["sheet"]), truth)
    told("audit", "import", labeled, drawn["sheet"], "--reviewer", "anna")
    certificate = told("certify", labeled, "--max-error", 0.1)
    assert certificate["certified"]
    assert certificate["gold"] == 150
    todo = told("todo", labeled)
    fill(Path(todo["sheet"]), truth)
    told("answers", "import", labeled, todo["sheet"], "--reviewer", "ben")
    finished = told("finish", labeled, "--out", done, "--format", "parquet")
    assert finished["labeled_by_model"] > 100
    rows = read_annotations(done)
    assert rows["id"][:] == [row["id"] for row in corpus]
    said = [NAMES[3][code] for code in rows["label"][:]]
    assert sum(truth[name] != label for name, label in zip(rows["id"], said, strict=True)) <= 135
    assert read_record(done)["certificate"]["seal"] == certificate["seal"]
    # and a model cannot learn from the sheet it was judged by
    refused = run("fit", drawn["sheet"], "--out", tmp_path / "cheat", code=1)
    assert "audit sheet" in refused.stderr
