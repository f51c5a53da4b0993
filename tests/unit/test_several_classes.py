"""Rows that may carry several classes, or none: from labeled rows to annotated ones, in Python."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel, List, Value
from tiny import several, snippets

from textlabel import Labeler
from textlabel.audit.seal import open_sealed
from textlabel.corpus import spool
from textlabel.errors import AuditError, BundleError, CorpusError, RecipeError
from textlabel.recipe import Recipe, Stage
from textlabel.report.cards import model_card
from textlabel.trust.multilabel import all_right

NAMES = ["film", "phone", "praise"]
TRAIN, NEW = several(240), several(200, seed=1)
CORPUS = [{"id": row["id"], "text": row["text"]} for row in NEW]


@pytest.fixture(scope="module")
def labeler(tiny_backbone):
    return Labeler(tiny_backbone, "multilabel").fit(TRAIN)


@pytest.fixture(scope="module")
def rows(labeler):
    return labeler.annotate(CORPUS, min_confidence=0.5)


def carried(rows):
    found = np.zeros((len(rows), 3), bool)
    for row, codes in zip(found, rows["label"], strict=True):
        row[codes] = True
    return found


def test_a_row_has_the_classes_that_are_likelier_than_not(rows):
    assert rows.features["label"] == List(ClassLabel(names=NAMES))
    assert rows.features["prediction_set"] == List(Value("string"))
    p = np.array(rows["probabilities"])
    np.testing.assert_array_equal(carried(rows), p >= 0.5)
    assert {len(codes) for codes in rows["label"]} == {0, 1, 2, 3}
    np.testing.assert_allclose(rows["margin"], np.abs(p - 0.5).min(axis=1), atol=1e-6)
    assert rows["prediction_set"][:] == [None] * len(rows)


def test_confidence_is_of_the_whole_set_and_decides(rows):
    product, sure = all_right(np.array(rows["probabilities"]), carried(rows)), np.array(rows["confidence"])
    np.testing.assert_array_equal(np.argsort(sure, kind="stable"), np.argsort(product, kind="stable"))
    assert ((sure > 0) & (sure < 1)).all()
    assert set(rows["decision"]) == {"accepted", "review"}
    assert [d == "accepted" for d in rows["decision"]] == (sure >= 0.5).tolist()


def test_it_has_learned_what_classes_are_and_how_sure_it_is(labeler, rows):
    metrics = labeler.evaluate(rows, NEW).metrics
    base = labeler.evaluate(rows.map(lambda row: {"label": []}, features=rows.features), NEW).metrics
    assert metrics["micro_f1"] > 0.7
    assert metrics["subset_accuracy"] > base["subset_accuracy"] + 0.15
    assert metrics["hamming_loss"] < base["hamming_loss"] - 0.1
    assert metrics["ece"] < 0.15
    assert metrics["macro_ece"] < 0.15


def test_a_saved_model_says_the_same(labeler, rows, tmp_path):
    again = Labeler.load(labeler.save(tmp_path / "model"))
    assert again.annotate(CORPUS, min_confidence=0.5).to_list() == rows.to_list()
    assert again.schema == labeler.schema
    assert again.threshold == "half"


def test_what_people_said_stands_be_it_nothing(labeler, tmp_path):
    gold = [
        {"text": CORPUS[0]["text"], "label": ["phone", "film"]},
        {"text": CORPUS[1]["text"], "label": []},
        {"text": CORPUS[2]["text"], "label": ["film"]},
        {"text": CORPUS[2]["text"], "label": ["phone"]},
        {"text": CORPUS[3]["text"], "label": ["film", "phone"]},
        {"text": CORPUS[3]["text"], "label": ["phone", "film"]},
    ]
    alone, rows = labeler.annotate(CORPUS), labeler.annotate(CORPUS, gold=gold)
    assert rows["label"][:4] == [[0, 1], [], alone[2]["label"], [0, 1]]
    assert rows["source"][:5] == ["human", "human", "model", "human", "model"]
    p = np.array(rows["probabilities"][:2])
    np.testing.assert_allclose(rows["confidence"][:2], all_right(p, carried(rows)[:2]))
    assert rows.to_list()[4:] == alone.to_list()[4:]
    labeler.export(rows, tmp_path / "out", "csv")
    with pytest.raises(CorpusError, match="unknown label 'book'"):
        labeler.annotate(CORPUS, gold=[{"text": "a", "label": ["book"]}])


def test_people_may_have_labeled_none_of_the_rows_of_a_piece(labeler, monkeypatch):
    gold = [{"text": CORPUS[150]["text"], "label": ["film"]}]
    whole = labeler.annotate(CORPUS, gold=gold)
    monkeypatch.setattr(spool, "PIECE", 64)
    assert labeler.annotate(CORPUS, gold=gold).to_list() == whole.to_list()


def test_lower_thresholds_find_more_of_a_class(tiny_backbone, labeler, rows):
    f1 = Labeler(tiny_backbone, "multilabel", threshold="f1").fit(TRAIN)
    thresholds = np.array(f1.bundle.calibrator.thresholds)
    assert ((thresholds > 0.1) & (thresholds < 0.5)).all()
    found = f1.annotate(CORPUS)
    np.testing.assert_array_equal(carried(found), np.array(found["probabilities"]) >= thresholds)
    assert found["probabilities"][:] == rows["probabilities"][:]
    assert f1.evaluate(found, NEW).metrics["macro_f1"] > labeler.evaluate(rows, NEW).metrics["macro_f1"]


def test_sets_that_were_asked_for_hold_each_class(tiny_backbone):
    labeler = Labeler(tiny_backbone, "multilabel", sets="class", set_alpha=0.2).fit(TRAIN)
    rows = labeler.annotate(CORPUS)
    for name in NAMES:
        inside = [
            name in found
            for found, row in zip(rows["prediction_set"], NEW, strict=True)
            if name in row["label"]
        ]
        assert 0.68 < np.mean(inside) < 0.92
    for codes, found in zip(rows["label"], rows["prediction_set"], strict=True):
        assert {NAMES[c] for c in codes} <= set(found)


def test_without_calibration_probabilities_are_sigmoids(tiny_backbone):
    labeler = Labeler(tiny_backbone, "multilabel", calibration="none").fit(TRAIN)
    p = 1 / (1 + np.exp(-labeler.predict(CORPUS).logits.astype(float)))
    rows = labeler.annotate(CORPUS)
    np.testing.assert_allclose(rows["probabilities"], p, rtol=1e-5)
    np.testing.assert_allclose(rows["confidence"], all_right(p, p >= 0.5))
    assert "was not calibrated" in model_card(labeler.record())


@pytest.mark.parametrize("calibration", ["holdout", pytest.param("folds=2", marks=pytest.mark.slow)])
def test_a_body_learns_by_gradient(tiny_backbone, calibration):
    loop = {"epochs": 5, "learning_rate": 3e-3, "dropout": 0.0}
    stages = (Stage.of("head", "binary_cross_entropy"), Stage.of("lora", "binary_cross_entropy", **loop))
    labeler = Labeler(tiny_backbone, Recipe("mine", stages), calibration=calibration).fit(TRAIN[:60])
    assert labeler.bundle.classifier.adapters
    assert labeler.evaluate(labeler.annotate(CORPUS), NEW).metrics["micro_f1"] > 0.6


def test_changed_copies_carry_the_classes_of_their_rows(tiny_backbone):
    head = Stage.of("head", "binary_cross_entropy", augment={"name": "delete", "copies": 2})
    body = Stage.of("bitfit", "binary_cross_entropy", augment="delete", epochs=1)
    labeler = Labeler(tiny_backbone, Recipe("mine", (head, body)), calibration="none").fit(TRAIN[:40])
    assert labeler.annotate(CORPUS[:3]).features["label"] == List(ClassLabel(names=NAMES))


def test_early_stopping_looks_at_all_classes(tiny_backbone):
    stage = Stage.of("partial", "binary_cross_entropy", epochs=4, patience=1)
    labeler = Labeler(tiny_backbone, Recipe("mine", (stage,)), calibration="none")
    labeler.fit(TRAIN[:60], validation=TRAIN[60:90])
    assert labeler.bundle.classifier.body_changed


def test_a_rare_class_is_warned_of_and_one_of_one_text_refused(tiny_backbone, caplog):
    rare = {"id": "a", "text": "a plot", "label": ["plot"]}
    rows = [*TRAIN[:60], rare, {"id": "b", "text": "the plot", "label": ["plot", "film"]}]
    labeler = Labeler(tiny_backbone, "multilabel", threshold="f1").fit(rows)
    assert "1 of 4 classes have fewer rows than there are folds (5), 'plot' only 2" in caplog.text
    assert labeler.bundle.calibrator.thresholds[2] == 0.5
    with pytest.raises(CorpusError, match="class 'plot' has 1 row, expected 2 or more"):
        Labeler(tiny_backbone, "multilabel").fit(rows[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibrator": "temperature"}, "each has a calibrator of its own"),
        ({"noisy_labels": "prune"}, "is about classes, and these are multi labels"),
        ({"sets": "aps"}, "take sets = 'class', a promise for each class"),
        ({"off_map": "energy"}, "these labels are of kind 'multi'"),
        ({"threshold": "best"}, "threshold = 'best' is unknown"),
        ({"threshold": "f1", "calibration": "none"}, "on rows that calibration = 'none' does not give"),
    ],
)
def test_what_is_not_for_several_classes_is_refused_before_training(tiny_backbone, options, message):
    with pytest.raises(RecipeError, match=message):
        Labeler(tiny_backbone, "multilabel", **options).fit(TRAIN[:40])


def test_names_of_classes_and_spreading_are_refused(tiny_backbone):
    tune = {"name": "head", "name_weights": [0, 3]}
    recipe = Recipe("mine", (Stage.of(tune, "binary_cross_entropy"),))
    with pytest.raises(RecipeError, match="name_weights and spread are for one label a row"):
        Labeler(tiny_backbone, recipe).fit(TRAIN[:40])


def test_thresholds_are_for_several_classes(tiny_backbone):
    with pytest.raises(RecipeError, match="threshold = 'f1' is for rows that may carry several classes"):
        Labeler(tiny_backbone, threshold="f1").fit(snippets(20))


def test_a_recipe_of_one_class_a_row_refuses_lists(tiny_backbone):
    with pytest.raises(CorpusError, match="or use recipe 'multilabel' for several classes a row"):
        Labeler(tiny_backbone).fit(TRAIN[:40])


def test_what_reads_one_label_a_row_is_refused(labeler, rows, tmp_path):
    predictions = labeler.predict(CORPUS)
    with pytest.raises(BundleError, match="an estimate of accuracy is for one label a row"):
        labeler.estimate(predictions)
    with pytest.raises(BundleError, match="a correction for class shares is for one label a row"):
        labeler.annotate(CORPUS, correct_label_shift=True)
    with pytest.raises(RecipeError, match="optimize compares backends by the one label of a row"):
        labeler.optimize(CORPUS)
    for name in ("entropy", "ensemble"):
        with pytest.raises(RecipeError, match="this model gives a row any number of classes: name a column"):
            labeler.annotate(CORPUS, order_by=name)
    with pytest.raises(AuditError, match="'entropy': rows may carry several classes; name a column"):
        labeler.export(rows, tmp_path / "out", order_by="entropy")


def test_annotated_rows_are_sealed_for_an_audit(labeler, rows, tmp_path):
    sealed = open_sealed(labeler.export(rows, tmp_path / "out", order_by="margin"))
    assert (np.diff(np.array(rows["margin"])[sealed.order]) <= 0).all()
    assert sealed.classes == tuple(NAMES)
    assert [sealed.names[code] for code in sealed.labels[:5]] == [
        "|".join(NAMES[c] for c in codes) or "(none)" for codes in rows["label"][:5]
    ]


def test_the_seal_knows_which_classes_a_row_has(rows):
    from textlabel.audit.seal import seal

    def changed(label):
        return rows.map(lambda row, i: {"label": label if i == 0 else row["label"]}, with_indices=True)

    first = rows[0]["label"]
    digests = {seal(changed(label))["labels"] for label in ([], [0], [1], [0, 1], [0, 1, 2])}
    assert len(digests) == 5
    assert seal(changed(first))["labels"] == seal(rows)["labels"]
