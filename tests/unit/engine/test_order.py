"""Scores that ask the model, against the same made by hand; and what a model that lacks them is told."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.corpus.dedup import groups
from textlabel.corpus.split import folds
from textlabel.engine import order
from textlabel.engine.order import order_column
from textlabel.errors import AuditError, BundleError, CorpusError, PluginError, RecipeError
from textlabel.models.bundle import hashes
from textlabel.models.heads import softmax_regression
from textlabel.registry import plugins
from textlabel.trust.label_shift import LabelShift
from textlabel.types import COLUMNS

TRAIN = snippets(60)
CORPUS = [{"id": row["id"], "text": row["text"]} for row in snippets(50, seed=1)]
TRUTH = np.array([int(row["label"] == "positive") for row in TRAIN])
ASKING = ("ensemble", "knn", "mutual_information")


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    return Labeler(tiny_backbone, keep_reference=True).fit(TRAIN)


@pytest.fixture(scope="module")
def predictions(labeler):
    return labeler.predict(CORPUS)


def members(labeler, predictions):
    """Return the probabilities (5, n, 2) of heads that were fitted to four folds each, once more."""
    x = labeler.predict([{"text": row["text"]} for row in TRAIN]).embeddings.astype(np.float64)
    fold = folds(TRUTH, groups([row["text"] for row in TRAIN]), 5, 0)
    found = []
    for k in range(5):
        rows = fold != k
        # of all strengths, the one that the model took is the one whose heads it keeps
        strengths = [l2 * 100 / rows.sum() for l2 in (1.0, 3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)]
        heads = softmax_regression(x[rows], np.eye(2)[TRUTH[rows]], np.ones(rows.sum()), strengths)
        kept = labeler.bundle.members[k].weight
        head = min(heads, key=lambda one: np.abs(one.weight - kept).max())
        np.testing.assert_allclose(head.weight, kept, atol=1e-3)
        found.append(labeler.bundle.calibrator.apply(head(predictions.embeddings)))
    return np.stack(found)


def test_the_ensemble_is_of_heads_that_each_lack_a_fold(labeler, predictions):
    rows = labeler.annotate(CORPUS, predictions=predictions, order_by="ensemble")
    assert rows.column_names == [*COLUMNS, "ensemble"]
    mean = members(labeler, predictions).mean(axis=0)
    np.testing.assert_allclose(rows["ensemble"], mean[np.arange(50), rows["label"]], atol=1e-3)
    doubt = np.array(labeler.annotate(CORPUS, order_by="-mutual_information")["mutual_information"])
    assert ((doubt >= 0) & (doubt <= 1)).all()
    assert len(set(doubt)) > 40


def test_their_logits_on_their_own_fold_are_those_that_calibrated(labeler):
    """So the calibrator was fitted to the very heads whose probabilities it makes here."""
    x = labeler.predict([{"text": row["text"]} for row in TRAIN]).embeddings.astype(np.float64)
    fold = folds(TRUTH, groups([row["text"] for row in TRAIN]), 5, 0)
    logits = np.stack([head(x) for head in labeler.bundle.members])[fold, np.arange(60)]
    right = np.mean(logits.argmax(axis=1) == TRUTH)
    assert right == pytest.approx(labeler.bundle.source.accuracy)
    sure = labeler.bundle.calibrator.apply(logits).max(axis=1).mean()
    assert sure == pytest.approx(labeler.bundle.source.confidence, abs=1e-4)


def test_knn_is_the_share_of_ten_near_rows(labeler, predictions):
    rows = labeler.annotate(CORPUS, predictions=predictions, order_by="knn")
    train = labeler.predict([{"text": row["text"]} for row in TRAIN]).embeddings
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (predictions.embeddings, train)]
    near = np.argsort(-(unit[0] @ unit[1].T), axis=1)[:, :10]
    expected = (TRUTH[near] == np.array(rows["label"])[:, None]).mean(axis=1)
    np.testing.assert_allclose(rows["knn"], expected, atol=0.11)  # within a tie one neighbor may change
    assert np.mean(np.abs(np.array(rows["knn"]) - expected) < 1e-9) > 0.9


def test_a_training_row_is_not_its_own_neighbor(tiny_backbone):
    rows = [{"text": "good film", "label": "a"}, {"text": "bad phone", "label": "b"}]
    rows += [
        {"text": text, "label": "ab"[i % 2]} for i, text in enumerate(["great plot", "awful screen"] * 2)
    ]
    labeler = Labeler(tiny_backbone, "head", calibration="folds=2", keep_reference=True).fit(rows)
    found = labeler.bundle.scope.known.reference.neighbors(
        labeler.predict([{"text": "great plot"}]).embeddings, 6
    )
    assert sorted(found[0].tolist()) == [-1, -1, 0, 1, 1, 1]  # two copies of "great plot" are left out


@pytest.mark.parametrize("name", ASKING)
def test_a_saved_model_gives_the_same_scores_in_chunks_of_any_size(
    labeler, predictions, name, tmp_path, monkeypatch
):
    before = labeler.annotate(CORPUS, predictions=predictions, order_by=name)[name][:]
    monkeypatch.setattr(order, "CHUNK", 7)
    again = Labeler.load(labeler.save(tmp_path / "model"))
    np.testing.assert_allclose(again.annotate(CORPUS, order_by=name)[name], before, atol=1e-6)


def test_members_are_corrected_for_class_shares_like_the_labels(labeler, predictions):
    shift = LabelShift(np.array([0.9, 0.1]), np.array([1.8, 0.2]), 0.5)
    rows = labeler.annotate(CORPUS, predictions=predictions, correct_label_shift=shift, order_by="ensemble")
    plain = labeler.annotate(CORPUS, predictions=predictions, order_by="ensemble")
    assert rows["label"][:].count(0) > plain["label"][:].count(0)
    weighted = members(labeler, predictions) * shift.weights
    mean = (weighted / weighted.sum(axis=2, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(rows["ensemble"], mean[np.arange(50), rows["label"]], atol=1e-3)


def test_scores_that_rows_tell_make_no_column(labeler, predictions):
    for name in sorted({*plugins("score"), *COLUMNS} - {*ASKING}):
        assert order_column(name, COLUMNS, labeler.bundle) is None
    assert order_column("-knn", COLUMNS, labeler.bundle) == "knn"
    assert order_column("-rank", [*COLUMNS, "rank"], labeler.bundle) is None
    for name in ("knn", "entropy"):
        with pytest.raises(RecipeError, match=f"is a confidence score, and the input has a column '{name}'"):
            order_column(name, [*COLUMNS, name], labeler.bundle)
    assert labeler.annotate(CORPUS, predictions=predictions).column_names == list(COLUMNS)


class NoPredictions(Labeler):
    def _predict(self, *_, **__):
        raise AssertionError("a row was predicted")


@pytest.mark.parametrize(
    ("options", "order_by", "message"),
    [
        ({}, "knn", r"'knn' needs the training rows, .* fit again with --keep-reference"),
        (
            {"calibration": "holdout"},
            "ensemble",
            "'ensemble' needs the heads of the folds, .* head, and calib",
        ),
        (
            {"calibration": "none"},
            "-mutual_information",
            "'-mutual_information' needs the heads of the folds",
        ),
    ],
)
def test_a_model_that_lacks_it_says_how_to_fit_before_a_row_is_read(
    tiny_backbone, options, order_by, message
):
    labeler = NoPredictions(tiny_backbone, **options).fit(TRAIN)
    with pytest.raises(BundleError, match=message):
        labeler.annotate(CORPUS, order_by=order_by)
    with pytest.raises(AssertionError, match="a row was predicted"):
        labeler.annotate(CORPUS)


def test_numbers_have_no_such_order(tiny_backbone):
    rows = [{"text": r["text"], "label": float(len(r["text"]))} for r in TRAIN]
    labeler = NoPredictions(tiny_backbone, "regression", keep_reference=True).fit(rows)
    assert labeler.bundle.members == ()
    for name in ("knn", "ensemble", "entropy"):
        with pytest.raises(RecipeError, match="this model gives numbers: name a column"):
            labeler.annotate(CORPUS, order_by=name)


def test_predictions_without_features_are_refused(labeler, predictions):
    from dataclasses import replace

    with pytest.raises(CorpusError, match="reads features, which these predictions lack"):
        labeler.annotate(CORPUS, predictions=replace(predictions, embeddings=None), order_by="ensemble")


def test_rows_without_the_column_are_not_sealed_by_it(labeler, predictions, tmp_path):
    rows = labeler.annotate(CORPUS, predictions=predictions)
    with pytest.raises(AuditError, match="order_by = 'knn' asks the model, and these rows lack what it says"):
        labeler.export(rows, tmp_path / "out", order_by="knn")
    assert not (tmp_path / "out").exists()


def test_a_model_from_before_heads_of_folds_were_kept_still_labels(labeler, predictions, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = labeler.save(tmp_path / "model")
    tensors = load_file(folder / "head.safetensors")
    kept = {key: value for key, value in tensors.items() if not key.startswith("members.")}
    assert len(tensors) - len(kept) == 2
    assert tensors["members.weight"].shape == (5, 2, 16)
    save_file(kept, folder / "head.safetensors")
    data = json.loads((folder / "textlabel.json").read_text())
    (folder / "textlabel.json").write_text(json.dumps({**data, "files": hashes(folder)}))
    old = Labeler.load(folder)
    np.testing.assert_allclose(old.predict(CORPUS).logits, predictions.logits, atol=1e-5)
    with pytest.raises(BundleError, match="needs the heads of the folds"):
        old.annotate(CORPUS, order_by="ensemble")
    shutil.rmtree(folder)


def test_a_model_that_forgets_its_rows_labels_alike_and_keeps_no_part(tiny_backbone, labeler, predictions):
    bare = Labeler(tiny_backbone).fit(TRAIN).forget_rows()
    found = bare.predict(CORPUS)
    np.testing.assert_allclose(found.logits, predictions.logits, atol=1e-5)
    assert found.agreements is None
    assert labeler.estimate(predictions).spread == ("doc", "atc", "gde")
    assert bare.estimate(found).spread == ("doc", "atc")
    with pytest.raises(BundleError, match="needs the heads of the folds"):
        bare.annotate(CORPUS, order_by="ensemble")
    with pytest.raises(RecipeError, match="keeps the features of all training rows"):
        labeler.forget_rows()
    assert labeler.bundle.members


def test_a_plugin_that_wants_what_nobody_has_is_named(labeler, monkeypatch):
    import types

    from textlabel.trust import scores

    made = types.SimpleNamespace(NAME="theirs", NEEDS=("dreams",), score=lambda evidence: None)
    monkeypatch.setattr(order, "plugins", lambda kind: ["theirs"])
    for module in (order, scores):
        monkeypatch.setattr(module, "load", lambda kind, name: made)
    with pytest.raises(PluginError, match=r"score 'theirs' needs \['dreams'\]"):
        labeler.annotate(CORPUS, order_by="theirs")
