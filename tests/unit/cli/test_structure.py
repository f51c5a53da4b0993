"""Label trees and ordered classes by commands alone."""

from __future__ import annotations

import csv
import json

import pytest
import trees
from commands import run, told
from tiny import write_static

from textlabel.audit.seal import open_sealed
from textlabel.corpus import spool
from textlabel.export._read import read_annotations, read_record

FORMATS = ("dataset", "parquet", "jsonl", "csv")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model that knows a tree, a corpus, gold labels, and one that knows an order."""
    folder = tmp_path_factory.mktemp("structure")
    static = write_static(folder / "static")
    (folder / "tree.json").write_text(json.dumps(trees.TREE))
    train = write(folder / "train.jsonl", trees.leaves(48, inner=12))
    fit = ("fit", train, "--backbone", static, "--no-cache")
    run(*fit, "--label-tree", folder / "tree.json", "--out", folder / "model")
    corpus = trees.leaves(60, seed=1)
    write(folder / "gold.jsonl", corpus)
    write(folder / "corpus.jsonl", [{"id": r["id"], "text": r["text"], "node": "mine"} for r in corpus])
    train = write(folder / "steps.jsonl", trees.steps(48))
    fit = ("fit", train, "--backbone", static, "--no-cache")
    run(*fit, "--ordered", ", ".join(trees.SCALE), "--out", folder / "scale")
    return folder


def annotate(home, out, *words):
    told("annotate", home / "corpus.jsonl", "--model", home / "model", "--out", out, "--no-cache", *words)
    return read_annotations(out)


def test_every_format_has_the_same_nodes(home, tmp_path):
    found = [annotate(home, tmp_path / form, "--format", form, "--back-off", 0.9) for form in FORMATS]
    for rows in found:
        assert rows.column_names[-3:] == ["node", "node_confidence", "input_node"]
        assert rows["node"][:] == found[0]["node"][:]
        assert rows["node_confidence"][:] == pytest.approx(found[0]["node_confidence"][:], nan_ok=True)
    assert set(found[0]["node"]) <= {None, "film", "phone", *found[0].features["label"].names}
    record = read_record(tmp_path / "csv")
    assert record["decided_by"]["back_off"] == 0.9
    assert record["schema"]["parents"]["film good"] == "film"
    card = (tmp_path / "csv" / "README.md").read_text()
    assert "leaves of a tree (film: film good, film bad; phone: phone good, phone bad)" in card
    assert "deepest node of the label tree with probability 0.9 or more" in card
    with (tmp_path / "csv" / "annotations.csv").open(newline="") as file:
        assert "node" in csv.DictReader(file).fieldnames
    assert open_sealed(tmp_path / "parquet").n == 60


def test_pieces_on_a_disk_have_the_same_nodes(home, tmp_path, monkeypatch):
    whole = annotate(home, tmp_path / "whole", "--format", "jsonl", "--back-off", 0.9)
    monkeypatch.setattr(spool, "PIECE", 7)
    monkeypatch.setattr(spool, "IN_MEMORY", 0)
    parts = annotate(home, tmp_path / "parts", "--format", "jsonl", "--back-off", 0.9)
    assert parts.to_list() == whole.to_list()
    assert (tmp_path / "parts/annotations.jsonl").read_bytes() == (
        tmp_path / "whole/annotations.jsonl"
    ).read_bytes()


def test_without_backing_off_there_are_no_nodes(home, tmp_path):
    rows = annotate(home, tmp_path / "plain", "--format", "csv")
    assert rows.column_names[-2:] == ["source", "input_node"]
    assert "back_off" not in read_record(tmp_path / "plain")["decided_by"]
    assert "deepest node" not in (tmp_path / "plain" / "README.md").read_text()


def test_evaluate_tells_each_depth_and_the_nodes(home, tmp_path):
    annotate(home, tmp_path / "out", "--back-off", 0.9)
    numbers = told("evaluate", tmp_path / "out", "--gold", home / "gold.jsonl")
    assert numbers["accuracy_at_depth_1"] >= numbers["accuracy"]
    assert numbers["node_accuracy"] > 0.8
    rows = read_annotations(tmp_path / "out")
    assert numbers["share_with_node"] == pytest.approx(sum(n is not None for n in rows["node"]) / 60)
    table = run("evaluate", tmp_path / "out", "--gold", home / "gold.jsonl").output
    assert "accuracy at depth 1 of the label tree" in table
    assert "share of these nodes that are right" in table


def test_ordered_classes_are_fitted_labeled_and_evaluated(home, tmp_path):
    record = read_record(home / "scale")["record"]
    assert record["head"]["share"] in (0.0, 1.0)
    rows = trees.steps(60, seed=1)
    gold = write(tmp_path / "gold.jsonl", rows)
    corpus = write(tmp_path / "corpus.jsonl", [{"id": r["id"], "text": r["text"]} for r in rows])
    run("annotate", corpus, "--model", home / "scale", "--out", tmp_path / "out", "--no-cache")
    found = read_annotations(tmp_path / "out")
    assert found.features["label"].names == trees.SCALE
    numbers = told("evaluate", tmp_path / "out", "--gold", gold)
    off = [abs(a - trees.SCALE.index(r["label"])) for a, r in zip(found["label"], rows, strict=True)]
    assert numbers["steps_off"] == pytest.approx(sum(off) / 60)
    assert numbers["quadratic_kappa"] > 0.5
    assert "steps of a scale" in (tmp_path / "out" / "README.md").read_text()
    refused = run(
        "annotate", corpus, "--model", home / "scale", "--out", tmp_path / "no", "--back-off", 1, code=1
    )
    assert "knows no label tree to back off in" in " ".join(refused.output.split())


def test_a_job_takes_both(home, tmp_path):
    (tmp_path / "tree.json").write_text(json.dumps(trees.TREE))
    write(tmp_path / "train.jsonl", trees.leaves(24))
    write(tmp_path / "corpus.jsonl", [{"text": row["text"]} for row in trees.leaves(8, seed=1)])
    (tmp_path / "job.toml").write_text(
        f'[fit]\ntrain = "train.jsonl"\nout = "model"\nbackbone = "{home}/static"\nlabel_tree = "tree.json"\n'
        '[annotate]\ncorpus = "corpus.jsonl"\nout = "out"\nback_off = 0.8\n'
    )
    run("run", tmp_path / "job.toml")
    assert "node" in read_annotations(tmp_path / "out").column_names
    write(tmp_path / "train.jsonl", trees.steps(24))
    run(
        "run", tmp_path / "job.toml", "fit.label_tree=", f"fit.ordered={trees.SCALE}", "annotate.back_off=0.0"
    )
    assert read_annotations(tmp_path / "out").features["label"].names == trees.SCALE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected one JSON object"),
        ("{", "no JSON of a label tree"),
        ('{"film": ["a"], "film": ["b"]}', "'film' occurs twice in one object"),
        ('{"film": ["film good", "film bad"], "phone": ["film good"]}', "'film good' occurs twice"),
        ('{"film": ["film good", "film bad"]}', "unknown label 'phone good'"),
    ],
)
def test_bad_trees_are_refused_before_anything_is_read_by_the_backbone(home, tmp_path, content, message):
    (tmp_path / "tree.json").write_text(content)
    words = ("fit", home / "train.jsonl", "--out", tmp_path / "model", "--backbone", home / "static")
    done = run(*words, "--label-tree", tmp_path / "tree.json", code=1)
    assert message in " ".join(done.output.split())


def test_rows_are_ordered_by_how_sure_their_node_is_where_there_is_one(home, tmp_path):
    write(tmp_path / "corpus.jsonl", [{"text": row["text"], "node_confidence": 1} for row in trees.leaves(8)])
    words = ("annotate", tmp_path / "corpus.jsonl", "--model", home / "model", "--out", tmp_path / "out")
    refused = run(*words, "--order-by", "node_confidence", code=1)
    assert "no such column or score" in " ".join(refused.output.split())
    run(*words, "--order-by", "node_confidence", "--back-off", 0.01)
    assert (
        json.loads((tmp_path / "out" / "textlabel.json").read_text())["seal"]["order_by"] == "node_confidence"
    )


def test_a_share_that_nothing_tells_is_refused_before_any_row_is_read(tmp_path, tiny_backbone):
    run("fit", "--classes", "good film,bad film", "--backbone", tiny_backbone, "--out", tmp_path / "model")
    words = ("annotate", tmp_path / "no-such.jsonl", "--model", tmp_path / "model", "--out", tmp_path / "out")
    refused = run(*words, "--out-of-scope-rate", 0.1, code=1)
    assert "needs scores of labeled rows" in " ".join(refused.output.split())
