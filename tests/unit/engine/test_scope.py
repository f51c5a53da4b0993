"""What adapt puts into a scope: scores on maps without the row; and the decision out_of_scope."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine.adapt import adapt
from textlabel.engine.annotate import annotate
from textlabel.engine.run import Run, Task
from textlabel.engine.scope import MAP_FOLDS, ScopePlan
from textlabel.errors import BundleError, PluginError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.trust.scope import Map
from textlabel.types import LabelSchema, Predictions

SCHEMA = LabelSchema("single", ("negative", "positive"))
HEAD = {"tune": {"name": "head", "folds": 2}, "objective": "cross_entropy"}
LORA = {"tune": "lora", "objective": "cross_entropy", "epochs": 1, "learning_rate": 1e-2}


def recipe(*stages):
    return Recipe.from_dict({"name": "test", "stage": list(stages)})


def task(n=60):
    rows = snippets(n)
    return Task([r["text"] for r in rows], np.array([SCHEMA.index(r["label"]) for r in rows]), SCHEMA)


@pytest.fixture
def maps(monkeypatch):
    """Record the features that each map was drawn from, and those that were scored with it."""
    seen = []
    draw, score = Map.draw.__func__, Map.score

    def spy_draw(cls, features, *args):
        known = draw(cls, features, *args)
        seen.append((known, features, []))
        return known

    def spy_score(self, name, logits, features):
        next(rows for known, _, rows in seen if known is self).append(features)
        return score(self, name, logits, features)

    monkeypatch.setattr(Map, "draw", classmethod(spy_draw))
    monkeypatch.setattr(Map, "score", spy_score)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stages", "calibration", "count", "scored"),
    [
        ([HEAD], "auto", MAP_FOLDS + 1, 60),
        ([HEAD], "holdout", 1, 12),
        ([LORA], "holdout", 1, 12),
        ([LORA], "folds=3", 4, 60),
        ([HEAD], "none", 1, 0),
    ],
)
def test_every_score_is_of_a_row_that_is_not_on_its_map(
    tiny_backbone, maps, stages, calibration, count, scored
):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(*stages), 0, calibration=calibration)
    assert len(maps) == count
    assert bundle.scope.in_scope.shape == (scored,)
    assert (np.diff(bundle.scope.in_scope) >= 0).all()
    assert sum(len(rows) for _, _, parts in maps for rows in parts) == scored
    for _, drawn, parts in maps:
        for rows in parts:
            gaps = np.abs(rows[:, None] - drawn[None]).max(axis=2)
            assert not len(rows) or gaps.min() > 1e-6


def test_cross_fitted_scores_are_those_of_maps_drawn_by_hand(tiny_backbone):
    given, backbone = task(), load_backbone(tiny_backbone)
    bundle = adapt(backbone, given, recipe(HEAD), 0, scope=ScopePlan("mahalanobis"))
    run = Run(backbone, given, recipe(HEAD), 0, "torch", None)
    expected = np.empty(60)
    for others, held in run.folds(MAP_FOLDS):
        known = Map.draw(run.base_features[others], given.targets[others], 2)
        expected[held] = known.moments.mahalanobis(run.base_features[held])
    np.testing.assert_allclose(bundle.scope.in_scope, np.sort(expected), rtol=1e-5)


def test_fewer_texts_than_folds_are_scored_too(tiny_backbone):
    bundle = adapt(load_backbone(tiny_backbone), task(6), recipe(HEAD), 0)
    assert bundle.scope.in_scope.shape == (6,)


def test_copies_of_a_text_share_a_fold(tiny_backbone, maps):
    once = task(30)
    twice = Task([*once.texts, *once.texts], np.tile(once.targets, 2), SCHEMA)
    adapt(load_backbone(tiny_backbone), twice, recipe(HEAD), 0)
    for _, drawn, parts in maps:
        for rows in parts:
            assert np.abs(rows[:, None] - drawn[None]).max(axis=2).min() > 1e-6


def test_a_score_that_cannot_be_had_is_refused_before_training(tiny_backbone):
    backbone = load_backbone(tiny_backbone)
    with pytest.raises(RecipeError, match=r"'knn' compares .* keep them with the model \(--keep-reference\)"):
        adapt(backbone, task(), recipe(HEAD), 0, scope=ScopePlan("knn"))
    scores = Task(task().texts, np.linspace(-1, 1, 60), LabelSchema("score"))
    with pytest.raises(
        RecipeError,
        match="'energy' reads logits of classes of which a row has one, and these labels are of kind 'score'",
    ):
        adapt(backbone, scores, Recipe.load("regression"), 0, scope=ScopePlan("energy"))
    with pytest.raises(PluginError, match="unknown off_map 'enregy': did you mean 'energy'"):
        adapt(backbone, task(), recipe(HEAD), 0, scope=ScopePlan("enregy"))


@pytest.fixture(scope="module")
def fitted(tiny_backbone):
    return adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0)


def decided(bundle, scores, rate, **options):
    from datasets import Dataset

    n = len(scores)
    corpus = Dataset.from_dict({"id": [str(i) for i in range(n)], "text": ["a film"] * n})
    logits = np.tile(np.float32([9, -9]), (n, 1))
    predictions = Predictions(corpus["id"][:], logits, SCHEMA, None, np.float32(scores))
    return annotate(corpus, predictions, bundle, out_of_scope_rate=rate, **options)["decision"][:]


def test_far_rows_are_out_of_scope_however_sure_the_model_is(fitted):
    threshold = fitted.scope.threshold(0.1)
    scores = [threshold, np.nextafter(np.float32(threshold), np.float32(np.inf)), 1e9]
    assert decided(fitted, scores, 0.1, min_confidence=0.5) == ["accepted", "out_of_scope", "out_of_scope"]
    assert decided(fitted, scores, 0.0, min_confidence=0.5) == ["accepted"] * 3


def test_a_rate_that_the_rows_cannot_bear_is_told(fitted, caplog):
    assert decided(fitted, [1e9], 0.01, min_confidence=0.5) == ["accepted"]
    assert "a rate of 0.01 needs 99 labeled rows that calibrate, there are 60" in caplog.text


def test_a_model_without_calibration_cannot_tell(tiny_backbone):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0, calibration="none")
    assert decided(bundle, [1e9], 0.0, min_confidence=0.5) == ["accepted"]
    with pytest.raises(BundleError, match="out_of_scope_rate needs scores of labeled rows"):
        decided(bundle, [1e9], 0.1)


def test_scores_of_a_corpus_have_the_decision_too(tiny_backbone):
    rows = [{"text": r["text"], "label": float(len(r["text"]))} for r in snippets(60)]
    labeler = Labeler(tiny_backbone, "regression").fit(rows)
    out = labeler.annotate(rows, out_of_scope_rate=0.2)["decision"][:]
    assert set(out) <= {"review", "out_of_scope"}
    assert 0 < out.count("out_of_scope") <= 18
