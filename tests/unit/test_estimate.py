"""From labeled rows to the estimate that stands beside labels: fit, save, load, annotate."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.errors import BundleError, CorpusError
from textlabel.recipe import Recipe
from textlabel.steps import Annotate

TRAIN = snippets(60)
ROWS = snippets(80, seed=1)
TEXTS = [{"text": row["text"]} for row in ROWS]


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    return Labeler(tiny_backbone, "head").fit(TRAIN)


def test_the_estimate_is_near_the_truth(labeler):
    predictions = labeler.predict(TEXTS)
    said = np.array(labeler.schema.names)[predictions.logits.argmax(axis=1)]
    truth = np.mean(said == [row["label"] for row in ROWS])
    estimate = labeler.estimate(predictions)
    assert estimate.spread == ("doc", "atc", "gde")
    assert abs(estimate.value - truth) < 0.15
    assert labeler.bundle.source.rows == len(TRAIN)


def test_the_statistics_survive_the_disk(labeler, tmp_path):
    folder = labeler.save(tmp_path / "model")
    again = Labeler.load(folder)
    assert (
        again.estimate(again.predict(TEXTS)).to_json() == labeler.estimate(labeler.predict(TEXTS)).to_json()
    )
    again.save(tmp_path / "second")
    assert (folder / "head.safetensors").read_bytes() == (tmp_path / "second/head.safetensors").read_bytes()


def test_a_model_from_before_there_were_statistics_still_labels(labeler, tmp_path):
    folder = labeler.save(tmp_path / "model")
    record = json.loads((folder / "textlabel.json").read_text())
    del record["source"]
    (folder / "textlabel.json").write_text(json.dumps(record))
    old = Labeler.load(folder)
    assert len(old.annotate(TEXTS)) == len(TEXTS)
    with pytest.raises(BundleError, match="keeps no statistics of labeled rows"):
        old.estimate(old.predict(TEXTS))


def test_where_the_body_is_trained_gde_is_left_out_and_told(tiny_backbone):
    stage = {"tune": "lora", "objective": "cross_entropy", "epochs": 1}
    plan = Recipe.from_dict({"name": "lora", "stage": [stage]})
    trained = Labeler(tiny_backbone, plan, calibration="holdout").fit(TRAIN)
    estimate = trained.estimate(trained.predict(TEXTS))
    assert estimate.spread == ("doc", "atc")
    assert "by DoC and ATC only" in str(estimate)


def test_without_rows_that_calibrate_there_is_no_estimate(tiny_backbone):
    blind = Labeler(tiny_backbone, "head", calibration="none").fit(TRAIN)
    assert blind.bundle.source is None
    with pytest.raises(BundleError, match="calibration other than 'none'"):
        blind.estimate(blind.predict(TEXTS))


def test_a_score_has_no_accuracy_to_estimate(tiny_backbone):
    scored = Labeler(tiny_backbone, "regression").fit(
        [{"text": row["text"], "label": float(row["label"] == "positive")} for row in TRAIN]
    )
    assert scored.bundle.source is None


def test_annotate_tells_the_estimate_and_records_it(labeler, tmp_path):
    model = labeler.save(tmp_path / "model")
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in TEXTS))
    summary = Annotate(str(corpus), str(model), str(tmp_path / "out"), format="jsonl").run()
    estimate = labeler.estimate(labeler.predict(TEXTS))
    assert summary["estimated_accuracy"] == str(estimate)
    assert summary["estimated_accuracy"].endswith("estimate, not a guarantee")
    record = json.loads((tmp_path / "out/textlabel.json").read_text())
    assert record["estimate"] == estimate.to_json()
    assert record["estimate"]["promise"] == "estimate, not a guarantee"


def test_predictions_made_before_give_the_same_rows(labeler):
    given = labeler.annotate(TEXTS, predictions=labeler.predict(TEXTS))
    assert given[:] == labeler.annotate(TEXTS)[:]


def test_predictions_of_other_rows_are_refused(labeler):
    with pytest.raises(CorpusError, match="predictions of 10 rows are not of this corpus of 80 rows"):
        labeler.annotate(TEXTS, predictions=labeler.predict(TEXTS[:10]))
