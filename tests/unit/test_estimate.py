"""From labeled rows to the estimate that stands beside labels: fit, save, load, annotate."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.corpus.dedup import groups
from textlabel.corpus.split import folds
from textlabel.engine.head import fit_head
from textlabel.engine.scope import MAP_FOLDS
from textlabel.errors import BundleError, CorpusError
from textlabel.models.bundle import hashes
from textlabel.recipe import Recipe
from textlabel.steps import Annotate
from textlabel.trust.estimates import average_thresholded_confidence
from textlabel.trust.moments import fit_moments
from textlabel.trust.source import measure_source
from textlabel.trust.variance import temper

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


def test_confidence_is_tempered_by_distances_from_maps_without_the_row(labeler):
    texts = [row["text"] for row in TRAIN]
    x = labeler.predict([{"text": text} for text in texts]).embeddings.astype(np.float64)
    y = np.array([labeler.schema.index(row["label"]) for row in TRAIN])
    member, stage = groups(texts), Recipe.load("head").stages[0]
    distances, fold = np.zeros(len(y)), folds(y, member, MAP_FOLDS, 0)
    for k in range(MAP_FOLDS):
        rows = fold != k
        distances[~rows] = fit_moments(x[rows], y[rows], 2).bulk(x[~rows])
    probabilities = labeler.bundle.calibrator.apply(fit_head(x, y, member, 2, stage, 0).out_of_fold)
    expected, found = measure_source(probabilities, y, None, distances), labeler.bundle.source
    assert found.margin_variance == pytest.approx(expected.margin_variance, rel=1e-4)
    for name, threshold in expected.thresholds.items():
        assert found.thresholds[name].value == pytest.approx(threshold.value, rel=1e-3)

    predictions = labeler.predict(TEXTS)
    new = fit_moments(x, y, 2).bulk(predictions.embeddings)
    softer = temper(labeler.bundle.calibrator.apply(predictions.logits), new, found.margin_variance)
    atc = average_thresholded_confidence(softer.max(axis=1), found.thresholds["max_probability"])
    assert labeler.estimate(predictions).methods["atc_max_probability"] == pytest.approx(atc, abs=0.02)


def test_fewer_rows_than_features_do_not_temper(tiny_backbone):
    few, enough = (Labeler(tiny_backbone).fit(snippets(n)) for n in (14, 16))  # 16 features
    assert few.bundle.source.margin_variance is None
    assert enough.bundle.source.margin_variance > 0
    for fitted in (few, enough):
        assert fitted.estimate(fitted.predict(TEXTS)).spread == ("doc", "atc", "gde")


def test_a_model_from_before_pairs_and_tempering_estimates_by_the_old_rule(labeler, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder, predictions = labeler.save(tmp_path / "model"), labeler.predict(TEXTS)
    tensors = load_file(folder / "head.safetensors")
    for name in ("weight", "bias"):
        tensors[f"source.{name}"] = tensors[f"source.{name}"][:, 0].copy()
    save_file(tensors, folder / "head.safetensors")
    record = json.loads((folder / "textlabel.json").read_text())
    del record["source"]["margin_variance"]
    (folder / "textlabel.json").write_text(json.dumps({**record, "files": hashes(folder)}))
    old = Labeler.load(folder)
    found = old.estimate(old.predict(TEXTS)).methods
    sure = labeler.bundle.calibrator.apply(predictions.logits).max(axis=1)
    threshold = labeler.bundle.source.thresholds["max_probability"]
    assert found["atc_max_probability"] == average_thresholded_confidence(sure, threshold)
    first, second = labeler.bundle.source.twins.labels(predictions.embeddings)[:, 0]
    assert found["gde"] == pytest.approx(np.mean(first == second), abs=1e-12)


def test_predictions_without_distances_make_no_estimate(labeler):
    with pytest.raises(CorpusError, match="expected the distances of the rows"):
        labeler.estimate(replace(labeler.predict(TEXTS), distances=None))


def test_where_the_body_is_trained_gde_is_left_out_and_told(tiny_backbone):
    stage = {"tune": "lora", "objective": "cross_entropy", "epochs": 1}
    plan = Recipe.from_dict({"name": "lora", "stage": [stage]})
    trained = Labeler(tiny_backbone, plan, calibration="holdout").fit(TRAIN)
    estimate = trained.estimate(trained.predict(TEXTS))
    assert trained.bundle.source.margin_variance is None
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


def test_rows_that_people_labeled_are_not_estimated(labeler, tmp_path):
    model = labeler.save(tmp_path / "model")
    for name, rows in (("corpus", TEXTS), ("some", ROWS[:30]), ("all", ROWS)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus, predictions = str(tmp_path / "corpus.jsonl"), labeler.predict(TEXTS)

    def recorded(gold):
        Annotate(corpus, str(model), str(tmp_path / "out"), gold=str(tmp_path / f"{gold}.jsonl")).run()
        return json.loads((tmp_path / "out" / "textlabel.json").read_text())["estimate"]

    expected = labeler.estimate(predictions, np.arange(30, 80))
    assert recorded("some") == expected.to_json()
    assert (expected.rows, labeler.estimate(predictions).rows) == (50, 80)
    assert expected.methods != labeler.estimate(predictions).methods
    assert recorded("all") is None


def test_predictions_made_before_give_the_same_rows(labeler):
    given = labeler.annotate(TEXTS, predictions=labeler.predict(TEXTS))
    assert given[:] == labeler.annotate(TEXTS)[:]


def test_predictions_of_other_rows_are_refused(labeler):
    with pytest.raises(CorpusError, match="predictions of 10 rows are not of this corpus of 80 rows"):
        labeler.annotate(TEXTS, predictions=labeler.predict(TEXTS[:10]))
