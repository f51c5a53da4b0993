"""Orders that ask the model, through the commands: from fit to a certificate; and what the record tells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from audits import finish_walk
from commands import run, told
from sealed import fill
from tiny import snippets

from textlabel.audit.draws import draws
from textlabel.audit.seal import open_sealed
from textlabel.errors import CorpusError

CORPUS = snippets(300, seed=1)
TRUTH = {row["id"]: row["label"] for row in CORPUS}


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_backbone):
    """Return a folder with corpus.jsonl, and a model fitted with a reference and one without."""
    folder = tmp_path_factory.mktemp("user")
    unlabeled = [{"id": row["id"], "text": row["text"]} for row in CORPUS]
    for name, rows in (("train", snippets(80)), ("corpus", unlabeled), ("gold", CORPUS[:20])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fit = ("fit", folder / "train.jsonl", "--backbone", tiny_backbone, "--out")
    run(*fit, folder / "model", "--keep-reference")
    run(*fit, folder / "bare", "--calibration", "holdout")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order_by", "form"),
    [("ensemble", "dataset"), ("mutual_information", "csv"), ("knn", "jsonl"), ("-knn", "parquet")],
)
def test_the_order_is_a_sealed_column_and_a_certificate_follows_it(files, tmp_path, order_by, form):
    out, name = tmp_path / "out", order_by.removeprefix("-")
    run(
        *("annotate", files / "corpus.jsonl", "--model", files / "model", "--out", out),
        *("--format", form, f"--order-by={order_by}"),
    )
    sealed = open_sealed(out)
    sure = np.array(sealed.rows[name])[sealed.order]
    assert len(set(sure)) > 1
    steps = np.diff(sure)
    assert (steps >= 0).all() if order_by.startswith("-") else (steps <= 0).all()
    assert sealed.seal["order_by"] == order_by
    assert f"| `{name}` | how sure the row is" in (out / "README.md").read_text()
    sheet = Path(told("audit", "draw", out, "--size", 100, "--seed", 1)["sheet"])
    fill(sheet, TRUTH)
    run("audit", "import", out, sheet)
    certificate = told("certify", out, "--max-error", 0.2)
    [group] = certificate["groups"]
    labels = [sealed.names[code] for code in sealed.rows["label"]]
    wrong = np.array([TRUTH[i] != label for i, label in zip(sealed.rows["id"], labels, strict=True)])
    asked = draws(sealed)[0].rows
    ranks, spent = sealed.rank[asked], certificate["level_spent"]
    assert 0 < group["accepted"] == finish_walk(300, ranks, wrong[asked], 0.2, spent) < 300
    kept = np.setdiff1d(
        sealed.order[: group["accepted"]], asked
    )  # audited rows bear people's labels in the end
    assert wrong[kept].sum() <= 0.2 * 300 < wrong.sum()
    todo = Path(told("todo", out)["sheet"])
    fill(todo, TRUTH)
    run("answers", "import", out, todo)
    run("finish", out, "--out", tmp_path / "done", "--format", form)
    record = json.loads((tmp_path / "done" / "textlabel.json").read_text())
    assert record["decided_by"]["order_by"] == order_by
    assert name in record["features"]


def test_a_changed_score_breaks_the_seal(files, tmp_path):
    out = tmp_path / "out"
    run(
        *("annotate", files / "corpus.jsonl", "--model", files / "model", "--out", out),
        *("--format", "jsonl", "--order-by", "ensemble"),
    )
    lines = [json.loads(line) for line in (out / "annotations.jsonl").read_text().splitlines()]
    lines[0]["ensemble"] = 1 - lines[0]["ensemble"]
    (out / "annotations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "labels or their order were changed" in run("audit", "draw", out, "--size", 9, code=1).stderr


@pytest.mark.parametrize(
    ("order_by", "message"),
    [
        ("ensemble", "needs the heads of the folds"),
        ("mutual_information", "needs the heads of the folds"),
        ("knn", "fit again with --keep-reference"),
        ("ensembel", "did you mean 'ensemble'"),
    ],
)
def test_what_the_model_lacks_is_said_before_a_row_is_predicted(
    files, tmp_path, order_by, message, monkeypatch
):
    def predict(*_, **__):
        raise CorpusError("a row was predicted")

    monkeypatch.setattr("textlabel.labeler.Labeler._predict", predict)
    annotate = ("annotate", files / "corpus.jsonl", "--model", files / "bare", "--out", tmp_path / "out")
    done = run(*annotate, "--order-by", order_by, code=1)
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
    assert "a row was predicted" in run(*annotate, code=1).stderr


def test_forget_rows_keeps_none_for_knn(files, tmp_path, tiny_backbone):
    words = ("fit", files / "train.jsonl", "--backbone", tiny_backbone, "--out", tmp_path / "model")
    assert "leave one of the two out" in run(*words, "--forget-rows", "--keep-reference", code=1).stderr
    assert "pieces of the training texts" in run(*words, "--forget-rows", "--recipe", "tfidf", code=1).stderr
    run(*words, "--forget-rows")
    annotate = ("annotate", files / "corpus.jsonl", "--model", tmp_path / "model", "--out", tmp_path / "out")
    assert "--keep-reference" in run(*annotate, "--order-by", "knn", code=1).stderr
    for order_by in ("ensemble", "-mutual_information"):
        assert "and without --forget-rows" in run(*annotate, f"--order-by={order_by}", code=1).stderr
    assert "by DoC and ATC only" in told(*annotate)["estimated_accuracy"]
    other = ("annotate", files / "corpus.jsonl", "--model", files / "model", "--out", tmp_path / "other")
    assert "only" not in told(*other)["estimated_accuracy"]
    from safetensors.numpy import load_file

    kept = load_file(tmp_path / "model" / "head.safetensors")
    assert not {"members.weight", "members.bias", "source.weight", "source.bias"} & set(kept)
    assert {"members.weight", "source.weight"} <= set(load_file(files / "model" / "head.safetensors"))


def test_an_input_column_does_not_pass_for_a_score(files, tmp_path):
    rows = [{**row, "entropy": i, "ensemble": i} for i, row in enumerate(CORPUS)]
    (tmp_path / "named.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("annotate", tmp_path / "named.jsonl", "--model", files / "model", "--out", tmp_path / "out")
    for order_by in ("ensemble", "-entropy"):
        done = run(*words, f"--order-by={order_by}", code=1)
        assert f"the input has a column '{order_by.removeprefix('-')}': rename that column" in done.stderr
    assert not (tmp_path / "out").exists()
    run(*words, "--order-by", "confidence")


def test_the_record_tells_what_decided_the_rows(files, tmp_path):
    words = ("annotate", files / "corpus.jsonl", "--model", files / "model", "--out", tmp_path / "out")
    run(*words)
    record, card = tmp_path / "out" / "textlabel.json", tmp_path / "out" / "README.md"
    assert json.loads(record.read_text())["decided_by"] == {
        "min_confidence": 0.9,
        "out_of_scope_rate": 0.0,
        "gold": 0,
        "order_by": "confidence",
    }
    assert "min_confidence of annotate | 0.9 |" in card.read_text()
    assert "out_of_scope_rate of annotate | 0.0 |" in card.read_text()
    gold = ("--gold", files / "gold.jsonl", "--order-by", "margin")
    run(*words, "--min-confidence", 0.7, "--out-of-scope-rate", 0.05, *gold)
    assert json.loads(record.read_text())["decided_by"] == {
        "min_confidence": 0.7,
        "out_of_scope_rate": 0.05,
        "gold": 20,
        "order_by": "margin",
    }
    assert "min_confidence of annotate | 0.7 |" in card.read_text()
    assert "out_of_scope_rate of annotate | 0.05 |" in card.read_text()
    assert "gold of annotate | 20 |" in card.read_text()
    assert json.loads(record.read_text())["estimate"]["rows"] == 280
