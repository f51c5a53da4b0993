"""The main job on the real default backbone and the real reviews that come with textlabel."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textlabel import Labeler
from textlabel.export import parquet
from textlabel.export._read import read_annotations
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.resources import resource


def reviews(domain, n, seed):
    lines = resource(f"data/reviews/{domain}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["label"] != "neutral"]
    return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:n]]


ROWS = reviews("product", 500, seed=0)
TRAIN, TEST = ROWS[:160], ROWS[160:]
CORPUS = [{"id": row["id"], "text": row["text"], "shelf": i} for i, row in enumerate(TEST)]


@pytest.fixture(scope="module")
def labeler():
    # features that other tests cached were computed beside other texts and differ in their last bits
    return Labeler(seed=0, cache=False).fit(TRAIN)


def test_labels_are_good_and_confidence_is_calibrated(labeler, tmp_path):
    out = labeler.annotate(CORPUS)
    said = labeler.evaluate(out, TEST)
    assert said.metrics["accuracy"] > 0.82  # the larger class alone gives .59
    assert said.metrics["ece"] < 0.09
    folder = parquet.write(out, tmp_path / "out", labeler.record(rows=len(out)))
    back = read_annotations(folder)
    assert back["id"][:] == [row["id"] for row in CORPUS]
    assert back["shelf"][:] == list(range(len(CORPUS)))
    assert back["label"][:] == out["label"][:]


@pytest.mark.slow
def test_reloading_changes_no_logit(labeler, tmp_path):
    before = labeler.predict(CORPUS[:60]).logits
    after = Labeler.load(labeler.save(tmp_path / "model"), cache=False).predict(CORPUS[:60]).logits
    np.testing.assert_array_equal(before, after)
    assert not (tmp_path / "model/body").exists()  # a registered backbone is had by its name
    own = labeler.save(tmp_path / "own", self_contained=True)
    np.testing.assert_array_equal(before, Labeler.load(own, cache=False).predict(CORPUS[:60]).logits)


@pytest.mark.slow
def test_reloading_a_lora_changes_no_logit(labeler, tmp_path):
    recipe = Recipe.load("lora").to_dict()
    recipe["stage"][1] |= {"epochs": 1}
    tuned = Labeler(recipe=Recipe.from_dict(recipe), calibration="none").fit(TRAIN[:64])
    before = tuned.predict(CORPUS[:60]).logits
    assert np.abs(before - labeler.predict(CORPUS[:60]).logits).max() > 1e-3
    np.testing.assert_array_equal(
        before, Labeler.load(tuned.save(tmp_path / "m")).predict(CORPUS[:60]).logits
    )


def test_the_tokenizer_is_the_real_one():
    backbone = load_backbone(Labeler().backbone)
    tokens = [t for row in backbone.encode([row["text"] for row in TEST]) for t in row]
    unknown = np.mean(np.array(tokens) == backbone.tokenizer.unk_token_id)
    assert unknown < 0.01
