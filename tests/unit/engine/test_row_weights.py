"""Rows weighed toward other texts: what the head makes of it, what is told of it, and what is refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from tiny import snippets

from textlabel import Labeler
from textlabel.cli.fit import render
from textlabel.engine.head import fit_head
from textlabel.errors import RecipeError
from textlabel.objective.cross_entropy import Options, fit_linear
from textlabel.recipe import Recipe, Stage
from textlabel.report.cards import model_card
from textlabel.steps import Fit
from textlabel.trust.choice import choose
from textlabel.trust.row_weights import density_ratio, kmm

HEAD = Stage.of("head", "cross_entropy")


def bent(n, at, seed):
    """Return rows around ``at`` whose classes a curve parts: no line is right everywhere."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10))
    x[:, 0] += at
    chance = 1 / (1 + np.exp(-6 * (x[:, 1] - x[:, 0] ** 2 / 2 + 0.5)))
    return x, (rng.random(n) < chance).astype(np.int64)


@pytest.mark.parametrize("method", ["density_ratio", "kmm"])
def test_a_line_where_the_truth_is_bent_is_laid_where_the_target_is(method):
    right = {False: [], True: []}
    for seed in range(2):
        x, y = bent(700, 0.0, seed)
        there, truth = bent(700, 1.0, 100 + seed)
        found = density_ratio(x, there, 0) if method == "density_ratio" else kmm(x, there)
        for weighed in right:
            weights = found.weights if weighed else None
            fitted = fit_head(x, y, np.arange(len(x)), 2, HEAD, 0, row_weights=weights)
            right[weighed].append(np.mean(fitted.head(there).argmax(axis=1) == truth))
    assert np.mean(right[True]) > np.mean(right[False]) + 0.04


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_row_twice_is_a_row_of_double_weight(class_weights):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.integers(0, 3, 40)
    twice = np.append(np.arange(40), [0, 1, 2])
    weights = np.ones(40)
    weights[:3] = 2
    options = Options(class_weights)
    # strengths stand beside a mean over rows: as much in total
    [many] = fit_linear(x[twice], y[twice], 3, [0.1 / 43], options)
    [heavy] = fit_linear(x, y, 3, [0.1 / 40], options, row_weights=weights)
    [plain] = fit_linear(x, y, 3, [0.1 / 40], options)
    np.testing.assert_allclose(heavy.weight, many.weight, atol=1e-3)
    np.testing.assert_allclose(heavy.bias, many.bias, atol=1e-3)
    assert np.abs(plain.weight - many.weight).max() > 0.02


def test_weights_of_one_change_nothing_and_weights_reach_folds_and_calibration():
    x, y = bent(300, 0.0, 0)
    args = x, y, np.arange(300), 2, HEAD, 0
    plain, ones = fit_head(*args), fit_head(*args, row_weights=np.ones(300))
    np.testing.assert_allclose(plain.out_of_fold, ones.out_of_fold, atol=1e-6)
    weights = np.where(x[:, 0] > 0, 1.8, 0.2)
    weighed = fit_head(*args, row_weights=weights)
    assert all(
        np.abs(a.weight - b.weight).max() > 0.1 for a, b in zip(plain.members, weighed.members, strict=True)
    )
    calibrated = choose(plain.out_of_fold, y, weights=weights).calibrator.to_json()
    assert calibrated != choose(plain.out_of_fold, y).calibrator.to_json()
    assert (
        choose(plain.out_of_fold, y, weights=np.ones(300)).calibrator
        == choose(plain.out_of_fold, y).calibrator
    )
    with pytest.raises(RecipeError, match="the solver of prototype cannot weigh rows"):
        fit_head(*args[:4], Stage.of("head", "prototype"), 0, row_weights=weights)


#: like the labeled ones
ALIKE = [{"text": row["text"]} for row in snippets(300, seed=7)]
#: of words that no labeled row has
_WORDS = ("screen", "a", "is", "phone")
ELSEWHERE = [{"text": " ".join(_WORDS[i // 4**k % 4] for k in range(5))} for i in range(300)]


@pytest.mark.parametrize("method", ["density_ratio", "kmm"])
def test_the_record_and_the_card_tell_what_rows_are_worth(tiny_backbone, method, caplog):
    with caplog.at_level(logging.WARNING, "textlabel"):
        labeler = Labeler(tiny_backbone, weigh_rows=method).fit(snippets(120), ALIKE)
    assert not caplog.records  # unlabeled rows are used
    told = labeler.record()["row_weights"]
    assert told["applied"]
    assert told["method"] == method
    assert 12 <= told["unclipped_rows"] <= told["effective_rows"] <= told["rows"] == 120
    card = model_card(labeler.record())
    assert f"{method.replace('_', chr(92) + '_')}: 120 rows are worth" in card
    assert "as they were weighed toward the texts to be labeled" in card


@pytest.mark.parametrize("method", ["density_ratio", "kmm"])
def test_a_refusal_warns_and_all_rows_count_alike(tiny_backbone, method, caplog):
    rows = snippets(120)
    with caplog.at_level(logging.WARNING, "textlabel"):
        refused = Labeler(tiny_backbone, weigh_rows=method).fit(rows, ELSEWHERE)
    assert any("is refused, all rows count alike" in record.getMessage() for record in caplog.records)
    told = refused.record()["row_weights"]
    assert not told["applied"]
    assert "hardly overlap" in told["reason"]
    plain = Labeler(tiny_backbone).fit(rows)
    assert (refused.bundle.classifier.head.weight == plain.bundle.classifier.head.weight).all()
    assert "row_weights" not in plain.record()
    card = model_card(refused.record())
    assert "was asked for and refused, all rows count alike" in card
    assert "as they were weighed" not in card


@pytest.mark.parametrize(
    ("recipe", "told", "message"),
    [
        ("head", {"weigh_rows": "kmn"}, "weigh_rows = 'kmn' is unknown: did you mean 'kmm'"),
        ("head", {"weigh_rows": "kmm", "unlabeled": None}, r"give them \(--unlabeled CORPUS\)"),
        ("auto", {"weigh_rows": "kmm"}, "recipe 'auto' has something else"),
        ("lora", {"weigh_rows": "kmm"}, "recipe 'lora' has something else"),
        ("tfidf", {"weigh_rows": "kmm"}, "recipe 'tfidf' has something else"),
        ("knn", {"weigh_rows": "density_ratio"}, "recipe 'knn' has something else"),
        ("regression", {"weigh_rows": "kmm"}, "these are score labels"),
    ],
)
def test_what_cannot_be_weighed_is_refused(tiny_backbone, recipe, told, message):
    rows = [{**row, "label": 1.0} for row in snippets(20)] if recipe == "regression" else snippets(20)
    unlabeled = told.pop("unlabeled", ALIKE) if "unlabeled" in told else ALIKE
    with pytest.raises(RecipeError, match=message):
        Labeler(tiny_backbone, recipe, **told).fit(rows, unlabeled)


def test_what_spreads_is_not_weighed_and_names_alone_have_no_rows(tiny_backbone):
    stage = {"tune": {"name": "head", "spread": [0.5]}, "objective": "cross_entropy", "rows": "both"}
    recipe = Recipe.from_dict({"name": "t", "stage": [stage]})
    with pytest.raises(
        RecipeError, match="and spread: what a head learns from unlabeled texts is not weighed"
    ):
        Labeler(tiny_backbone, recipe, weigh_rows="kmm").fit(snippets(20), ALIKE)
    with pytest.raises(RecipeError, match="weigh_rows = 'kmm' needs labeled rows"):
        Labeler(tiny_backbone, weigh_rows="kmm").fit(None, ALIKE, classes=["a", "b"])


def test_a_label_shift_is_refused_of_a_model_fitted_with_weights(tiny_backbone):
    labeler = Labeler(tiny_backbone, weigh_rows="density_ratio").fit(snippets(200), ALIKE)
    refused = labeler.label_shift(labeler.predict(ALIKE))
    assert "fitted on rows weighed toward other texts" in refused.reason
    plain = Labeler(tiny_backbone).fit(snippets(200))
    assert "weighed" not in getattr(plain.label_shift(plain.predict(ALIKE)), "reason", "")


@pytest.mark.parametrize("method", ["density_ratio", "kmm"])
def test_the_command_tells_what_became_of_the_weights(tiny_backbone, tmp_path, method):
    paths = []
    for name, rows in [("train", snippets(120)), ("alike", ALIKE), ("elsewhere", ELSEWHERE)]:
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("\n".join(map(json.dumps, rows)))
    train, *others = map(str, paths)
    told = []
    for number, unlabeled in enumerate(others):
        step = Fit(
            str(tmp_path / str(number)),
            train,
            backbone=str(tiny_backbone),
            unlabeled=unlabeled,
            weigh_rows=method,
        )
        told.append(render(step.run()))
    assert f"row weights  {method}: 120 rows are worth" in told[0]
    assert f"row weights  {method} refused: " in told[1]
