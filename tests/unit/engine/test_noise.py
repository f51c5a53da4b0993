"""Labels that are likely wrong: found by heads without the row, left out or softened where heads train."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel.engine.adapt import adapt
from textlabel.engine.head import fit_head
from textlabel.engine.noise import Cleaner, check_noisy_labels, out_of_fold_probabilities
from textlabel.engine.run import Run, Task
from textlabel.errors import RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.trust import label_errors
from textlabel.types import LabelSchema

STAGE = Recipe.load("head").stages[0]
LORA = {"tune": "lora", "objective": "cross_entropy", "epochs": 1, "learning_rate": 1e-2}


def blobs(n=150, wrong=20, seed=0):
    """Return features of three classes far apart, right labels, and given ones of which some are wrong."""
    rng = np.random.default_rng(seed)
    right = np.arange(n) % 3
    features = 4 * np.eye(3, 8)[right] + rng.normal(0, 1, (n, 8))
    given = right.copy()
    given[:wrong] = (right[:wrong] + 1) % 3
    return features, right, given


def cleaner(mode="prune", **changes):
    features, _, given = blobs(**changes)
    return Cleaner(features, given, np.arange(len(given)), 3, mode, 0)


def test_labels_are_judged_by_the_heads_of_the_folds():
    features, _, given = blobs(wrong=0)
    groups = np.arange(len(given))
    before = out_of_fold_probabilities(features, given, groups, 3, 0)
    np.testing.assert_allclose(before.sum(axis=1), 1)
    fitted = fit_head(features, given, groups, 3, STAGE, 0)
    best = np.exp(fitted.out_of_fold)
    np.testing.assert_allclose(before, best / best.sum(axis=1, keepdims=True), atol=1e-9)


def test_wrong_labels_are_found():
    errors, _ = cleaner().errors(np.arange(150))
    assert errors.found[:20].mean() > 0.8
    assert errors.found[20:].mean() < 0.05


def test_some_rows_are_cleaned_by_themselves_alone():
    """Labels of other rows may be anything, but for the ridge strength."""
    one, other = cleaner(), cleaner()
    assert one.stage == other.stage
    rows = np.arange(0, 150, 2)
    other.targets[1::2] = 0
    for mine, theirs in zip(one(rows), other(rows), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert set(one(rows)[0].tolist()) < set(rows.tolist())


def test_soft_keeps_all_rows_and_moves_those_found():
    rows, soft = cleaner("soft")(np.arange(150))
    assert rows.tolist() == list(range(150))
    assert soft.shape == (150, 3)
    np.testing.assert_allclose(soft.sum(axis=1), 1)
    _, right, given = blobs()
    hard = soft.max(axis=1) == 1
    assert (soft[hard].argmax(axis=1) == given[hard]).all()
    assert (soft[~hard].argmax(axis=1) == right[~hard]).mean() > 0.8


def test_a_class_of_one_row_passes_for_right():
    features, _, given = blobs(wrong=0)
    given = np.where(given == 2, 0, given)
    given[0] = 2
    found = out_of_fold_probabilities(features, given, np.arange(150), 3, 0)
    assert found[0].tolist() == [0, 0, 1]
    single = Cleaner(features, given, np.arange(150), 3, "prune", 0)
    assert not single.errors(np.arange(150))[0].found[0]


def test_rows_of_single_texts_only():
    features, _, _ = blobs(n=3, wrong=0)
    found = out_of_fold_probabilities(features, np.arange(3), np.arange(3), 3, 0)
    np.testing.assert_array_equal(found, np.eye(3))


@pytest.mark.parametrize("mode", ["prune", "soft"])
def test_a_head_without_wrong_labels_is_nearer_to_the_right_one(mode):
    features, right, given = blobs(n=240, wrong=70)
    test, truth, _ = blobs(n=600, seed=9)
    groups = np.arange(240)

    def accuracy(labels, clean=None):
        head = fit_head(features, labels, groups, 3, STAGE, 0, clean).head
        return (head(test).argmax(axis=1) == truth).mean()

    clean = Cleaner(features, given, groups, 3, mode, 0)
    assert accuracy(given, clean) > accuracy(given) + 0.01
    assert accuracy(right) > 0.97


def test_logits_of_pruned_rows_come_from_a_head_without_their_fold():
    """Rows that calibrate are all rows, with the labels that were given."""
    features, _, given = blobs()
    seen = []
    real = cleaner()

    def spy(rows):
        seen.append(frozenset(rows.tolist()))
        return real(rows)

    fitted = fit_head(features, given, np.arange(150), 3, STAGE, 0, spy)
    whole = frozenset(range(150))
    assert seen[-1] == whole
    assert sorted(i for rows in set(seen) for i in whole - rows) == list(range(150))
    assert (np.abs(fitted.out_of_fold).sum(axis=1) > 0).all()
    assert fitted.out_of_fold[:20].argmax(axis=1).tolist() != given[:20].tolist()


# --- through a whole fit --------------------------------------------------------------------------


def task():
    rows = snippets(120)
    schema = LabelSchema("single", ("negative", "positive"))
    targets = np.array([schema.index(row["label"]) for row in rows])
    targets[:20] = 1 - targets[:20]
    return Task([row["text"] for row in rows], targets, schema)


@pytest.mark.parametrize(
    ("stages", "calibration"),
    [([], "auto"), ([LORA], "holdout"), pytest.param([LORA], "folds=2", marks=pytest.mark.slow)],
)
def test_the_record_says_how_many_labels_were_found_wrong(tiny_backbone, stages, calibration, monkeypatch):
    plan = Recipe.from_dict({"name": "t", "stage": [{"tune": "head", "objective": "cross_entropy"}, *stages]})
    trained = []
    train = Run._train

    def spy(self, classifier, stage, index, *rest):
        trained.append(len(index))
        return train(self, classifier, stage, index, *rest)

    monkeypatch.setattr(Run, "_train", spy)
    backbone = load_backbone(tiny_backbone)
    labels = task()
    kept = adapt(backbone, labels, plan, 0, calibration=calibration)
    assert "likely_wrong" not in kept.record["labels"]
    before = trained.copy()
    trained.clear()
    found = adapt(backbone, labels, plan, 0, calibration=calibration, noisy_labels="prune")
    told = found.record["labels"]
    assert 10 <= told["likely_wrong"] <= 70
    assert {k: told[k] for k in ("train", "calibration")} == {
        k: kept.record["labels"][k] for k in ("train", "calibration")
    }
    if stages:
        assert trained[-1] == before[-1] - told["likely_wrong"]
        assert all(now < then for now, then in zip(trained, before, strict=True))
    else:
        head = found.classifier.head.weight
        assert (head != kept.classifier.head.weight).any()


def test_what_makes_no_sense_is_refused(monkeypatch):
    with pytest.raises(RecipeError, match="noisy_labels = 'prun' is unknown: did you mean 'prune'"):
        check_noisy_labels("prun", "single", True)
    with pytest.raises(RecipeError, match="is about classes, and these are score labels"):
        check_noisy_labels("prune", "score", True)
    with pytest.raises(RecipeError, match="noisy_labels = 'soft' makes probabilities of labels"):
        check_noisy_labels("soft", "single", False)
    monkeypatch.setattr(label_errors, "find_spec", lambda name: None)
    check_noisy_labels("keep", "score", False)
    with pytest.raises(RecipeError, match="noisy_labels = 'prune' needs cleanlab"):
        check_noisy_labels("prune", "single", True)
