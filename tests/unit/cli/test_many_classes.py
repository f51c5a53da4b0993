"""Many classes with few rows each, and classes far apart in size, by commands alone."""

from __future__ import annotations

import json
import logging
from itertools import combinations

import numpy as np
import pytest
from tiny import WORDS
from typer.testing import CliRunner

from textlabel.cli.app import app

PAIRS = list(combinations(WORDS, 2))[:150]


def rows_of(counts, first=0):
    """Return rows of class i, ``counts[i]`` of them, which is a pair of words among others."""
    found = []
    for (one, two), count in zip(PAIRS, counts, strict=False):
        for i in range(first, first + count):
            more = WORDS[i % len(WORDS)]
            text = f"{one} {two} {one} {two} {more} {one} {two} {i}"
            found.append({"id": f"{one}-{two}-{i}", "text": text, "label": f"{one} {two}"})
    return found


@pytest.fixture
def write(tmp_path):
    def to(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    return to


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def path(tiny_backbone, tmp_path, write):
    """Return a function from training rows to what fit and evaluate tell, and the annotated rows."""

    def through(train, gold, *options):
        model, out = tmp_path / "model", tmp_path / "labeled"
        fit = ("fit", write("train.jsonl", train), "--out", model, "--backbone", tiny_backbone, *options)
        told = json.loads(run(*fit, "--json").stdout)
        corpus = write("corpus.jsonl", [{k: row[k] for k in ("id", "text")} for row in gold])
        run("annotate", corpus, "--model", model, "--out", out, "--format", "jsonl")
        measured = run("evaluate", out, "--gold", write("gold.jsonl", gold), "--json")
        [file] = out.glob("*.jsonl")
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        return told, json.loads(measured.stdout), rows

    return through


@pytest.mark.slow
def test_a_hundred_and_fifty_classes_of_five_rows(path):
    told, measured, rows = path(rows_of([5] * 150), rows_of([2] * 150, first=5))
    assert len(told["classes"]) == 150
    assert told["labels"]["calibration"] == "out-of-fold (5)"
    assert measured["accuracy"] > 0.3  # by chance: 0.007
    assert all(len(row["probabilities"]) == 150 for row in rows)
    np.testing.assert_allclose([sum(row["probabilities"]) for row in rows], 1, atol=1e-4)


def test_one_to_a_hundred(path, caplog):
    """The rare class has fewer rows than there are folds: it is learned, and its confidence is told of."""
    caplog.set_level(logging.WARNING, "textlabel")
    told, measured, rows = path(rows_of([200, 2, 100]), rows_of([40, 4, 20], first=200))
    assert len(told["classes"]) == 3
    rare = " ".join(PAIRS[1])
    assert f"1 of 3 classes have fewer rows than there are folds (5), '{rare}' only 2" in caplog.text
    assert told["labels"]["calibration"] == "out-of-fold (5)"
    assert measured["accuracy"] > 0.9
    assert sum(row["label"] == rare for row in rows) >= 2


def test_two_rows_a_class(path):
    told, measured, _ = path(rows_of([2, 2]), rows_of([9, 9], first=9))
    assert told["labels"]["calibration"] == "out-of-fold (4)"
    assert measured["accuracy"] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("calibration", ["auto", "holdout", "folds=2"])
@pytest.mark.parametrize("patience", [0, 2])
def test_a_rare_class_and_a_body_that_trains(path, tmp_path, calibration, patience):
    stages = '[[stage]]\ntune = "head"\nobjective = "cross_entropy"\n'
    stages += f'[[stage]]\ntune = "lora"\nobjective = "cross_entropy"\nepochs = 1\npatience = {patience}\n'
    (tmp_path / "two.toml").write_text(stages)
    options = ("--recipe", tmp_path / "two.toml", "--calibration", calibration)
    told, measured, _ = path(rows_of([20, 2, 20]), rows_of([9, 9, 9], first=20), *options)
    assert len(told["classes"]) == 3
    assert measured["accuracy"] > 0.5


def test_a_class_of_one_row_is_refused_with_what_to_do(tiny_backbone, tmp_path, write):
    train = write("train.jsonl", rows_of([5, 1, 5, 1]))
    done = run("fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone, code=1)
    message = " ".join(done.output.split())
    assert f"class '{' '.join(PAIRS[3])}' has 1 row, expected 2 or more with different texts" in message
    assert "; 2 classes have too few. Label more rows of it, or leave the class out" in message
