"""A map of classes behind a head: what it promises, and which models it reads."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tiny import snippets, write_static

from textlabel import Labeler
from textlabel.engine.label_map import HEAD, LEAST_ROWS, map_to_rows
from textlabel.engine.task import load_task
from textlabel.errors import RecipeError
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.calibrators.temperature import Temperature
from textlabel.trust.label_map import CAP

OTHER = {"negative": "bad", "positive": "good"}


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return write_static(tmp_path_factory.mktemp("static") / "static")


def three(n, seed):
    """Return snippets with a third class, which is half of the negative ones and half of the positive."""
    rows = snippets(n, seed=seed)
    return [{**row, "label": "third" if i % 3 == 0 else row["label"]} for i, row in enumerate(rows)]


def renamed(n, seed):
    return load_task(
        [{**r, "label": OTHER[r["label"]]} for r in snippets(n, seed=seed)], None, None, "single"
    )[0]


def test_a_renamed_label_set_is_found_and_calibrated(static):
    bundle = Labeler(static, cache=False).fit(snippets(100)).bundle
    mapped = map_to_rows(bundle, renamed(40, 7), "many_to_one", 0)
    table = {line["source"]: line["target"] for line in mapped.record["label_map"]["table"]}
    assert table == OTHER
    assert isinstance(mapped.calibrator, Temperature)
    assert mapped.record["labels"]["calibration"] == "out-of-fold (5)"


def test_few_rows_do_not_calibrate_and_the_record_says_so(static):
    bundle = Labeler(static, cache=False).fit(snippets(100)).bundle
    mapped = map_to_rows(bundle, renamed(LEAST_ROWS - 4, 7), "leep", 0)
    assert isinstance(mapped.calibrator, Uncalibrated)
    assert mapped.record["labels"]["calibration"] == 0
    assert mapped.accepts_from(None) is None


def test_rows_of_a_class_without_counterpart_are_for_review(static):
    """However sure the source model is of the class: no calibration makes such rows surer."""
    labeler = Labeler(static, cache=False).fit(three(150, 0))
    target = [{**r, "label": OTHER[r["label"]]} for r in snippets(60, seed=7)]
    mapped = labeler.map_labels(target, "many_to_one")
    told = mapped.bundle.record["label_map"]
    assert told["unmapped"] == ["third"]
    assert mapped.bundle.calibrator.temperature >= 1
    corpus = snippets(60, seed=9)
    source = labeler.annotate(corpus)
    names = labeler.schema.names
    rows = [
        i
        for i, label in enumerate(source["label"])
        if names[label] == "third" and source["confidence"][i] > 0.4
    ]
    found = mapped.annotate(corpus)
    assert rows
    for i in rows:
        mass = source["probabilities"][i][names.index("third")]
        assert found["confidence"][i] <= 1 - mass * (1 - CAP) + 1e-6
        assert found["decision"][i] == "review"


def test_a_head_that_is_better_on_the_same_rows_is_named(static, caplog):
    """A source model of noise: its classes tell nothing of the target's."""
    rng = np.random.default_rng(0)
    noise = [{**row, "label": "ab"[int(rng.integers(2))]} for row in snippets(80)]
    bundle = Labeler(static, cache=False).fit(noise).bundle
    with caplog.at_level(logging.WARNING, "textlabel"):
        mapped = map_to_rows(bundle, renamed(80, 3), "leep", 0)
    assert mapped.record["label_map"]["comparison"]["better"] == HEAD
    assert "use `textlabel fit`" in caplog.text


@pytest.mark.parametrize("calibrator", ["temperature", "bias_corrected", "isotonic", "none"])
def test_a_map_reads_what_a_calibrated_model_says(static, calibrator):
    rows = snippets(1100 if calibrator == "isotonic" else 100)
    labeler = Labeler(static, calibrator=calibrator, cache=False).fit(rows)
    mapped = map_to_rows(labeler.bundle, renamed(60, 7), "leep", 0)
    assert mapped.record["label_map"]["comparison"]["accuracy"]["label_map"] > 0.8


def test_a_score_of_logits_becomes_one_of_moments(static):
    bundle = Labeler(static, off_map="energy", cache=False).fit(snippets(100)).bundle
    mapped = map_to_rows(bundle, renamed(40, 7), "leep", 0)
    assert mapped.scope.off_map != "energy"


def test_the_map_of_a_map_is_refused(static):
    labeler = Labeler(static, cache=False).fit(snippets(100))
    mapped = labeler.map_labels([{**r, "label": OTHER[r["label"]]} for r in snippets(40, seed=7)])
    with pytest.raises(RecipeError, match="label_map"):
        mapped.map_labels(snippets(40, seed=8))


@pytest.mark.slow
def test_trained_bodies_keep_their_updates(tiny_backbone, tmp_path):
    labeler = Labeler(tiny_backbone, recipe="lora", cache=False).fit(snippets(40))
    mapped = labeler.map_labels([{**r, "label": OTHER[r["label"]]} for r in snippets(40, seed=7)])
    texts = snippets(5, seed=4)
    again = Labeler.load(mapped.save(tmp_path / "model"), cache=False)
    assert again.annotate(texts)["probabilities"][:] == mapped.annotate(texts)["probabilities"][:]
    assert len(mapped.bundle.classifier.adapters) == len(labeler.bundle.classifier.adapters) > 0
