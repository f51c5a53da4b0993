"""`textlabel map-labels`: a model of one label set becomes one of another, and says what it did."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import run, told
from tiny import snippets

from textlabel import Labeler

OTHER = {"negative": "dull", "positive": "lively"}
ODD = "xylophone"  # in no file but the labeled rows


@pytest.fixture(scope="module")
def home(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    Labeler(tiny_backbone, cache=False).fit(snippets(80)).save(folder / "model")
    rows = [{**r, "text": f"{r['text']} {ODD}", "label": OTHER[r["label"]]} for r in snippets(40, seed=1)]
    for name, some in (("few", rows), ("fewer", rows[:8])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    (folder / "map.json").write_text(json.dumps({"negative": "dull", "positive": None, "x": "lively"}))
    (folder / "good.json").write_text(json.dumps(OTHER))
    return folder


@pytest.fixture(scope="module")
def mapped(home):
    words = ("map-labels", home / "model", "--target-labels", home / "few.jsonl", "--out", home / "model2")
    return told(*words)


def test_it_tells_the_table_and_compares_with_a_head(mapped):
    became = {line["source"]: line["target"] for line in mapped["table"]}
    assert became == OTHER
    assert mapped["target_rows"] == 40
    assert mapped["calibrated"] is True
    assert sum(line["rows"] for line in mapped["table"]) == pytest.approx(40, abs=0.02)
    assert set(mapped["comparison"]["nats"]) == {"label_map", "head"}


def test_the_saved_model_annotates_with_the_new_classes(home, mapped):
    source, target = (Labeler.from_pretrained(home / name) for name in ("model", "model2"))
    texts = [{"text": row["text"]} for row in snippets(30, seed=2)]
    old, new = source.predict(texts), target.predict(texts)
    assert target.schema.names == ("dull", "lively")
    given = target.bundle.classifier.head.solved().given
    theta = source.bundle.calibrator.apply(old.logits)
    np.testing.assert_allclose(np.exp(new.logits), theta @ given, atol=1e-5)
    assert set(target.annotate(texts)["decision"]) <= {"accepted", "review"}
    assert target.bundle.digest() == Labeler.from_pretrained(home / "model2").bundle.digest()


def test_no_text_of_the_rows_is_in_the_model(home, mapped):
    files = [path for path in (home / "model2").rglob("*") if path.is_file()]
    assert files
    assert not any(ODD.encode() in path.read_bytes() for path in files)


def test_few_rows_or_a_stated_map_are_not_calibrated_and_accept_nothing(home):
    few = told(
        "map-labels", home / "model", "--target-labels", home / "fewer.jsonl", "--out", home / "model3"
    )
    stated = told("map-labels", home / "model", "--map", home / "good.json", "--out", home / "model4")
    for summary in (few, stated):
        assert summary["calibrated"] is False
        found = Labeler.from_pretrained(summary["model"]).annotate([{"text": "a great film"}])
        assert found["decision"] == ["review"]


def test_the_same_command_writes_the_same_model(home, mapped):
    again = home / "again"
    told("map-labels", home / "model", "--target-labels", home / "few.jsonl", "--out", again)
    assert (again / "head.safetensors").read_bytes() == (home / "model2" / "head.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "got neither"),
        (("--map", "good.json", "--target-labels", "few.jsonl"), "got both"),
        (("--map", "map.json"), "unknown source class 'x'"),
        (("--target-labels", "few.jsonl", "--mode", "lep"), "leep"),
        (("--target-labels", "few.jsonl", "--label-tree", "good.json"), "a label tree is for a map"),
    ],
)
def test_what_cannot_be_is_refused(home, words, says):
    given = [home / word if "." in word else word for word in words]
    result = run("map-labels", home / "model", *given, "--out", home / "none", code=1)
    assert says in result.stderr
    assert not (home / "none").exists()
