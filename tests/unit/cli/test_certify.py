"""From a sealed corpus to a finished one, by commands alone."""

from __future__ import annotations

import json

import pytest
import sealed as made
from commands import run, told


@pytest.fixture
def folder(tmp_path):
    rows, truth = made.corpus(800)
    made.write(rows, tmp_path / "out", "csv")
    return tmp_path / "out", dict(zip(rows["id"], truth, strict=True))


def test_from_plan_to_finished_corpus(folder, tmp_path):
    out, truth = folder
    plan = run("plan", out, "--max-error", "0.1", "--size", "50", "--size", "200").stdout
    assert "rows to certify 10 %" in plan
    assert "people label" in plan
    draw = told("audit", "draw", out, "--size", 200, "--seed", 7)
    assert (draw["rows"], draw["seed"]) == (200, 7)
    made.fill(out / "audit" / "sheet-1.csv", truth)
    answers = told("audit", "import", out, draw["sheet"], "--reviewer", "anna")
    assert answers == {"answered": 200, "undecided": 0, "blank": 0, "replaced": 0}
    text = run("certify", out, "--max-error", "0.1").stdout
    assert "With probability at least 0.95, at most 80 of the 800 labels (10 %)" in text
    assert "Looks are counted, not locked" in text
    assert told("certify", out, "--max-error", "0.1")["look"] == 1
    todo = told("todo", out)
    assert "must still be labeled" in run("finish", out, "--out", tmp_path / "done", code=1).stderr
    made.fill(out / "audit" / "todo-1.csv", truth)
    assert told("answers", "import", out, todo["sheet"])["answered"] == todo["rows"]
    done = told("finish", out, "--out", tmp_path / "done", "--format", "jsonl")
    lines = (tmp_path / "done" / "annotations.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == done["rows"] == 800
    assert sum(row["label"] != truth[row["id"]] for row in rows) <= 80


def test_shares_are_told(folder):
    out, truth = folder
    run("audit", "draw", out, "--size", 100, "--seed", 7)
    made.fill(out / "audit" / "sheet-1.csv", truth)
    run("audit", "import", out, out / "audit" / "sheet-1.csv")
    text = run("shares", out, "--by", "shop").stdout
    assert text.splitlines()[0].split()[:5] == ["slice", "what", "estimate", "low", "high"]
    assert "shop 2" in text
    assert len(told("shares", out)["shares"]) == 2


def test_not_yet_is_said_and_is_no_failure(folder):
    out, truth = folder
    run("audit", "draw", out, "--size", 20, "--seed", 7)
    made.fill(out / "audit" / "sheet-1.csv", truth)
    run("audit", "import", out, out / "audit" / "sheet-1.csv")
    text = run("certify", out).stdout
    assert "not yet: 20 audited rows cannot bear this promise" in text
    assert "were wrong" not in text
    assert told("certify", out)["certified"] is False


def test_release_and_reuse(folder, tmp_path):
    out, truth = folder
    rows, _ = made.corpus(800)
    made.write(rows, tmp_path / "later", order_by="margin")
    run("audit", "draw", out, "--size", 100, "--seed", 7)
    made.fill(out / "audit" / "sheet-1.csv", truth)
    run("audit", "import", out, out / "audit" / "sheet-1.csv")
    assert told("audit", "reuse", tmp_path / "later", "--from", out)["rows"] == 100
    assert told("audit", "release", out, "--out", tmp_path / "more.csv")["released"] == 100
    assert "released to training" in run("certify", out, code=1).stderr


def test_a_plan_is_drawn(folder, tmp_path):
    out, _ = folder
    for name in ("plan.svg", "plan.png"):
        run("plan", out, "--size", "100", "--plot", tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    assert "expected .svg, .png" in run("plan", out, "--plot", tmp_path / "plan.xyz", code=1).stderr


def test_annotating_again_never_buries_answers(folder):
    out, _ = folder
    run("audit", "draw", out, "--size", 20)
    done = run("annotate", "x.csv", "--model", "m", "--out", out, code=1)
    assert "holds draws or answers of people" in done.stderr
