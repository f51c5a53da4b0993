from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.engine import run as run_module
from textlabel.engine.adapt import adapt
from textlabel.engine.head import fit_head
from textlabel.engine.run import Run, Task
from textlabel.errors import CorpusError, RecipeError, TrainingError
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
HEAD = {"tune": {"name": "head", "folds": 3}, "objective": "cross_entropy"}
LORA = {"tune": "lora", "objective": "cross_entropy", "epochs": 1, "learning_rate": 1e-2}


def recipe(*stages):
    return Recipe.from_dict({"name": "test", "stage": list(stages)})


def task(n=60, **changes):
    rows = snippets(n)
    targets = np.array([SCHEMA.index(r["label"]) for r in rows])
    return Task([r["text"] for r in rows], targets, SCHEMA, **changes)


@pytest.fixture
def runs(monkeypatch):
    """Record which rows each training run saw, and which rows each model scored."""
    seen: dict[str, list] = {"fit": [], "logits": []}
    fit, logits = Run.fit, Run.logits

    def spy_fit(self, index, name):
        seen["fit"].append(set(index.tolist()))
        return fit(self, index, name)

    def spy_logits(self, classifier, index):
        seen["logits"].append(set(index.tolist()))
        return logits(self, classifier, index)

    monkeypatch.setattr(Run, "fit", spy_fit)
    monkeypatch.setattr(Run, "logits", spy_logits)
    return seen


def test_folds_score_every_row_once_by_a_model_that_did_not_see_it(tiny_backbone, runs):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(LORA), 0, calibration="folds=3")
    assert len(runs["fit"]) == 4
    for trained, scored in zip(runs["fit"][:3], runs["logits"], strict=True):
        assert not trained & scored
    assert sorted(i for scored in runs["logits"] for i in scored) == list(range(60))
    assert runs["fit"][3] == set(range(60))
    assert bundle.record["labels"] == {"train": 60, "calibration": "folds (3)", "audit": 0}


def test_a_holdout_is_never_trained_on(tiny_backbone, runs):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(HEAD, LORA), 0, calibration="holdout")
    (trained,), (scored,) = runs["fit"], runs["logits"]
    assert not trained & scored
    assert trained | scored == set(range(60))
    assert bundle.record["labels"] == {"train": 48, "calibration": 12, "audit": 0}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "fits"), [(98, 4), (100, 1)])
def test_auto_holds_out_from_fifty_labels_a_class(tiny_backbone, runs, caplog, n, fits):
    caplog.set_level(logging.INFO, "textlabel")
    adapt(load_backbone(tiny_backbone), task(n), recipe(LORA), 0)
    assert len(runs["fit"]) == fits
    expected = "20 of 100 rows are held out" if fits == 1 else "3 extra training runs"
    assert expected in caplog.text


def test_a_solved_head_calibrates_on_its_own_folds(tiny_backbone, runs):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0)
    assert len(runs["fit"]) == 1
    assert not runs["logits"]
    assert bundle.record["labels"]["calibration"] == "out-of-fold (3)"


def test_without_calibration_probabilities_are_the_softmax(tiny_backbone):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0, calibration="none")
    np.testing.assert_allclose(bundle.calibrator.apply(np.zeros((1, 2))), 0.5)
    assert bundle.sets.quantiles == (np.inf,)


@pytest.mark.parametrize("text", ["always", "folds=1", "folds=", "folds=x"])
def test_an_unknown_calibration_is_refused(tiny_backbone, text):
    with pytest.raises(RecipeError, match="expected auto, holdout, folds=K"):
        adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0, calibration=text)


def test_equal_texts_share_a_fold(tiny_backbone, monkeypatch):
    """Contradictory copies of one text: a leak would make out-of-fold logits follow the copies' labels."""
    rows = [r["text"] for r in snippets(30)] * 2
    targets = np.array([0, 1] * 15 + [1, 0] * 15)
    run = Run(
        load_backbone(tiny_backbone),
        Task(rows, targets, SCHEMA),
        recipe(HEAD),
        0,
        "torch",
        run_module.NoCheckpoint(),
    )
    run.fit(np.arange(60), "final")
    np.testing.assert_allclose(run.solved.out_of_fold[:30], run.solved.out_of_fold[30:], atol=1e-6)


def test_temperature_of_fold_heads_suits_the_final_head():
    """Overconfident heads: few rows, many features. Held-out truth tells what the best T was."""
    from textlabel.trust.calibration import softmax
    from textlabel.trust.calibrators.temperature import fit as fit_temperature
    from textlabel.trust.metrics import nll

    stage = recipe({"tune": {"name": "head", "l2": 1e-4}, "objective": "cross_entropy"}).stages[0]
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 2100)
        x = rng.normal(size=(2100, 60)) + 0.35 * (2 * y[:, None] - 1) * (np.arange(60) < 8)
        fitted = fit_head(x[:100], y[:100], np.arange(100), 2, stage, seed)
        final = fitted.head(x[100:])
        ours = nll(y[100:], fit_temperature(fitted.out_of_fold, y[:100]).apply(final))
        best = nll(y[100:], fit_temperature(final, y[100:]).apply(final))
        raw = nll(y[100:], softmax(final))
        in_sample = nll(y[100:], fit_temperature(fitted.head(x[:100]), y[:100]).apply(final))
        assert ours < raw
        assert ours < in_sample
        gains.append((raw - ours) / (raw - best))
    assert np.mean(gains) > 0.9  # out-of-fold temperature gets nine tenths of what the truth would give


def test_early_stopping_holds_rows_out_or_takes_the_given_ones(tiny_backbone, monkeypatch):
    trained = []
    real = run_module.train

    def spy(classifier, stage, context, *args, **kwargs):
        trained.append((len(context.rows["labeled"]), kwargs["validate"] is not None))
        return real(classifier, stage, context, *args, **kwargs)

    monkeypatch.setattr(run_module, "train", spy)
    plan = recipe({**LORA, "patience": 1})
    backbone = load_backbone(tiny_backbone)
    adapt(backbone, task(), plan, 0, calibration="none")
    rows = snippets(10, seed=9)
    given = ([r["text"] for r in rows], np.array([SCHEMA.index(r["label"]) for r in rows]))
    adapt(backbone, task(validation=given), plan, 0, calibration="none")
    adapt(backbone, task(), recipe(LORA), 0, calibration="none")
    assert trained == [(50, True), (60, True), (60, False)]


def test_rows_of_early_stopping_are_seen_by_no_stage(tiny_backbone, monkeypatch):
    solved, trained = [], []
    solve, real = Run._solve, run_module.train

    def spy_solve(self, classifier, stage, index, *args):
        solved.append(len(index))
        return solve(self, classifier, stage, index, *args)

    def spy_train(classifier, stage, context, *args, **kwargs):
        trained.append(len(context.rows["labeled"]))
        return real(classifier, stage, context, *args, **kwargs)

    monkeypatch.setattr(Run, "_solve", spy_solve)
    monkeypatch.setattr(run_module, "train", spy_train)
    adapt(load_backbone(tiny_backbone), task(), recipe(HEAD, {**LORA, "patience": 1}), 0, calibration="none")
    assert solved == trained == [50]


@pytest.mark.parametrize("option", [{"max_length": 4}, {"pooling": "cls"}, {"normalize": True}])
def test_a_checkpoint_of_another_reading_is_refused(tiny_backbone, tmp_path, option):
    adapt(load_backbone(tiny_backbone), task(), recipe(LORA), 0, calibration="none", checkpoint=tmp_path)
    with pytest.raises(TrainingError, match="another run; different: backbone"):
        adapt(
            load_backbone(tiny_backbone, **option),
            task(),
            recipe(LORA),
            0,
            calibration="none",
            checkpoint=tmp_path,
        )


def test_a_checkpoint_of_other_class_names_is_refused(tiny_backbone, tmp_path):
    backbone = load_backbone(tiny_backbone)
    adapt(backbone, task(), recipe(LORA), 0, calibration="none", checkpoint=tmp_path)
    other = dataclasses.replace(task(), schema=LabelSchema("single", ("bad", "good")))
    with pytest.raises(TrainingError, match="another run; different: schema"):
        adapt(backbone, other, recipe(LORA), 0, calibration="none", checkpoint=tmp_path)


def test_rows_that_no_stage_reads_are_told(tiny_backbone, caplog):
    given = task(unlabeled=["a film"], validation=(["good"], np.array([1])))
    adapt(load_backbone(tiny_backbone), given, recipe(HEAD), 0)
    assert "unlabeled rows are not used" in caplog.text
    assert "validation rows are not used" in caplog.text


def test_the_number_of_folds_may_be_chosen(tiny_backbone):
    bundle = adapt(load_backbone(tiny_backbone), task(), recipe(HEAD), 0, calibration="folds=4")
    assert bundle.record["labels"]["calibration"] == "out-of-fold (4)"
    assert bundle.record["recipe"]["stage"][0]["tune"]["folds"] == 4


def test_a_recipe_for_scores_refuses_classes(tiny_backbone):
    with pytest.raises(RecipeError, match="learns from score labels, these are single labels"):
        adapt(load_backbone(tiny_backbone), task(), Recipe.load("regression"), 0)


def test_too_few_rows_of_a_class_are_named(tiny_backbone):
    rows = [*snippets(40)[::2], snippets(2)[1]]
    with pytest.raises(CorpusError, match="positive"):
        Labeler(tiny_backbone, "head").fit(rows)


def test_scores_are_fitted_with_an_interval_that_covers(tiny_backbone):
    rng = np.random.default_rng(0)
    rows = [
        {"text": r["text"], "label": 2.0 * (r["label"] == "positive") + rng.normal(0, 0.3)}
        for r in snippets(400)
    ]
    labeler = Labeler(tiny_backbone, "regression").fit(rows[:300])
    out = labeler.annotate([{"text": r["text"]} for r in rows[300:]])
    truth = np.array([r["label"] for r in rows[300:]])
    assert np.corrcoef(out["label"][:], truth)[0, 1] > 0.45
    low, high = np.array(out["prediction_set"][:]).T
    assert np.mean((low <= truth) & (truth <= high)) > 0.75
    assert set(out["decision"][:]) == {"review"}
    assert out["confidence"][0] is None
