"""A model that goes on without labels keeps its head, and nothing that labeled rows had measured."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import several, snippets, write_static

from textlabel import Labeler, Recipe
from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.models.backend_fit import BackendFit
from textlabel.trust.calibration import softmax

TRAIN = snippets(40)
#: of another domain: its label is there, and nobody may read it
TARGET = [{**row, "label": "nobody reads this"} for row in snippets(31, seed=1)]


def quick(objective="shot", tune="lora", **training):
    settings = {"rows": "unlabeled", "epochs": 2, "batch_size": 8, "learning_rate": 1e-2, **training}
    return Recipe.from_dict({"name": "quick", "stage": [{"tune": tune, "objective": objective, **settings}]})


@pytest.fixture(scope="module")
def start(tiny_backbone):
    return Labeler(tiny_backbone, keep_reference=True, off_map="knn").fit(TRAIN)


@pytest.fixture(scope="module")
def adapted(start):
    return start.adapt(TARGET, quick(), seed=5)


def test_the_head_has_the_same_bits_and_the_model_before_is_as_it_was(start, adapted):
    before, after = (each.bundle.classifier for each in (start, adapted))
    for one, other in zip(before.head.parameters(), after.head.parameters(), strict=True):
        assert torch.equal(one, other)
    assert before.untouched
    assert not after.untouched
    assert len(after.adapters) == 1
    assert np.abs(start.predict(TARGET).logits - adapted.predict(TARGET).logits).max() > 1e-3


def test_nothing_that_labeled_rows_had_measured_is_kept(start, adapted):
    old, new = start.bundle, adapted.bundle
    assert old.source is not None
    assert old.members
    assert old.scope.known.reference is not None
    assert len(old.scope.in_scope)
    assert new.source is None
    assert new.student is None
    assert (list(new.members), list(new.backends)) == ([], [])
    assert new.scope.known.reference is None
    assert new.scope.in_scope.shape == (0,)
    assert new.scope.off_map == "relative_mahalanobis"  # knn compares with rows that are not there
    assert new.calibrator.to_json() == {"name": "none"}
    assert all(np.isinf(new.sets.quantiles))
    kept, found = (set(bundle._arrays()) for bundle in (old, new))
    assert found < kept
    assert not any(name.startswith(("source.", "members.")) for name in found)
    for name in found - {"head.weight", "head.bias", "in_scope"}:
        assert not np.array_equal(old._arrays()[name], new._arrays()[name], equal_nan=True)


def test_confidence_is_the_plain_softmax_and_accepts_nothing_by_itself(adapted):
    found = adapted.annotate(TARGET)
    np.testing.assert_allclose(found["probabilities"], softmax(adapted.predict(TARGET).logits), rtol=1e-5)
    assert set(found["decision"]) == {"review"}
    assert set(adapted.annotate(TARGET, min_confidence=0.0)["decision"]) == {"accepted"}
    assert all(len(each) == 2 for each in found["prediction_set"])
    with pytest.raises(BundleError, match="keeps no statistics of labeled rows"):
        adapted.estimate(adapted.predict(TARGET))
    with pytest.raises(BundleError, match="keeps no statistics of labeled rows"):
        adapted.annotate(TARGET, correct_label_shift=True)
    with pytest.raises(BundleError, match="out_of_scope_rate needs scores of labeled rows"):
        adapted.annotate(TARGET, out_of_scope_rate=0.1)


def test_the_record_tells_where_it_came_from(start, adapted):
    record = adapted.record()
    [told] = record["adapted"]
    assert told["recipe"]["name"] == "quick"
    assert (told["seed"], told["texts"]) == (5, 31)
    assert told["started_from"]["model"] == start.bundle.digest()
    assert record["recipe"] == start.record()["recipe"]  # how the head came to be
    assert record["labels"] == {"train": 40, "calibration": 0, "audit": 0}
    assert record["calibrator"] == {"name": "none"}
    assert "calibrators" not in record
    before, after = start.annotate(TARGET)["label"], adapted.annotate(TARGET)["label"]
    assert told["labels"]["changed"] == sum(a != b for a, b in zip(before, after, strict=True))
    assert list(told["labels"]["before"].values()) == np.bincount(before, minlength=2).tolist()
    assert list(told["labels"]["after"].values()) == np.bincount(after, minlength=2).tolist()


def test_it_can_be_saved_and_go_on_again(adapted, tmp_path):
    again = Labeler.load(adapted.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(TARGET).logits, adapted.predict(TARGET).logits)
    twice = again.adapt(TARGET, quick("tent", "norms"))
    hashes = [each["started_from"] for each in twice.record()["adapted"]]
    assert hashes[1]["model"] == adapted.bundle.digest()
    assert hashes[0]["weights"] != hashes[1]["weights"]
    found = Labeler.load(twice.save(tmp_path / "twice"))
    np.testing.assert_array_equal(found.predict(TARGET).logits, twice.predict(TARGET).logits)
    assert twice.recipe.name == "head"


def test_one_seed_is_one_result(start, adapted):
    found = [start.adapt(TARGET, quick(), seed=seed).predict(TARGET).logits for seed in (5, 6)]
    np.testing.assert_array_equal(found[0], adapted.predict(TARGET).logits)
    assert not np.array_equal(found[0], found[1])


def test_labels_of_the_target_and_its_order_of_columns_change_nothing(start, adapted):
    plain = start.adapt([{"text": row["text"], "id": row["id"]} for row in TARGET], quick(), seed=5)
    np.testing.assert_array_equal(plain.predict(TARGET).logits, adapted.predict(TARGET).logits)


def test_it_is_told_that_confidence_is_not_calibrated_and_that_backends_are_gone(tiny_backbone, caplog):
    labeler = Labeler(tiny_backbone).fit(TRAIN)
    labeler.bundle.backends = [BackendFit("torch_bf16")]
    with caplog.at_level(logging.WARNING):
        labeler.adapt(TARGET, quick(epochs=1))
    assert "confidence is NOT calibrated any more" in caplog.text
    assert "run `textlabel optimize` again" in caplog.text


def test_a_class_that_no_text_gets_any_more_is_told(start, caplog):
    """Entropy alone, at a rate that lets it collapse."""
    with caplog.at_level(logging.WARNING):
        found = start.adapt(TARGET, quick("tent", "full", epochs=12, learning_rate=5e-2))
    after = found.record()["adapted"][0]["labels"]["after"]
    assert 0 in after.values()
    gone = next(name for name, count in after.items() if not count)
    assert f"no text gets '{gone}' any more" in caplog.text
    assert "may have collapsed" in caplog.text


@pytest.mark.parametrize("name", ["shot", "tent"])
def test_a_recipe_without_labels_fits_nothing(tiny_backbone, name):
    told = f"recipe '{name}' reads no label, it goes on from a model.*textlabel adapt MODEL"
    with pytest.raises(RecipeError, match=told):
        Labeler(tiny_backbone, name).fit(TRAIN, unlabeled=TARGET)


@pytest.mark.parametrize("name", ["head", "lora", "tapt", "mcc", "episodic"])
def test_a_recipe_with_labels_adapts_nothing(start, name):
    with pytest.raises(RecipeError, match=f"recipe '{name}' learns from labeled rows"):
        start.adapt("no such file", name)


def test_models_that_cannot_move_are_refused_before_texts_are_read(tiny_backbone, tmp_path, start):
    cases = [
        (Labeler(recipe="tfidf").fit(TRAIN), "made of n-grams"),
        (Labeler(tiny_backbone, "knn").fit(TRAIN), "head of recipe 'knn', through which no body can learn"),
        (Labeler(write_static(tmp_path / "static")).fit(TRAIN), "is static"),
        (Labeler(tiny_backbone, "multilabel").fit(several(60)), "is for single labels.*gives multi labels"),
        (
            Labeler(tiny_backbone, "regression").fit([{**r, "label": i / 10} for i, r in enumerate(TRAIN)]),
            "is for single labels.*gives score labels",
        ),
    ]
    for labeler, message in cases:
        with pytest.raises(RecipeError, match=message):
            labeler.adapt("no such file", "shot")
    with_student = Labeler(tiny_backbone)
    with_student._bundle = replace(start.bundle, student=object())
    with pytest.raises(RecipeError, match="has a student"):
        with_student.adapt("no such file", "shot")
    with pytest.raises(BundleError, match="has not learned anything yet"):
        Labeler(tiny_backbone).adapt(TARGET)


def test_fewer_texts_than_classes_are_refused(start):
    with pytest.raises(CorpusError, match="1 unlabeled texts for 2 classes"):
        start.adapt(TARGET[:1])
    with pytest.raises(CorpusError):
        start.adapt([])


def test_a_model_of_names_alone_can_go_on(tiny_backbone):
    start = Labeler(tiny_backbone).fit(None, TARGET, classes=["good", "bad"])
    found = start.adapt(TARGET, quick(epochs=1))
    assert found.record()["labels"]["train"] == 0
    assert set(found.annotate(TARGET)["decision"]) == {"review"}


def test_shot_after_a_head_in_one_recipe_reads_both(tiny_backbone):
    """Where source and target are in one place, these are ordinary stages, calibrated as ever."""
    head = {"tune": "head", "objective": "cross_entropy"}
    shot = {"tune": "lora", "objective": "shot", "rows": "unlabeled", "epochs": 1}
    both = Recipe.from_dict({"name": "both", "stage": [head, shot]})
    found = Labeler(tiny_backbone, both, calibration="holdout").fit(TRAIN, unlabeled=TARGET)
    assert found.record()["calibrator"]["name"] != "none"
