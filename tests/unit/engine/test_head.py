from __future__ import annotations

import numpy as np
import pytest

from textlabel.engine import fitter
from textlabel.engine.fitter import Aside
from textlabel.engine.head import fit_head
from textlabel.engine.solvers import STRENGTHS
from textlabel.engine.twins import TWIN_PAIRS, twin_heads
from textlabel.errors import RecipeError
from textlabel.models.heads import softmax_regression
from textlabel.recipe import Recipe, Stage

STAGE = Recipe.load("head").stages[0]


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    return rng.normal(size=(90, 8)) + np.eye(3, 8)[y], y, np.arange(90) // 2


def changed(rows, moved):
    """Return which twins change when the features of some rows do."""
    x, y, member = rows
    before = twin_heads(x, y, member, 3, STAGE, 0.03, seed=1)
    other = x.copy()
    other[moved] += 1.0
    after = twin_heads(other, y, member, 3, STAGE, 0.03, seed=1)
    return np.abs(before.weight - after.weight).max(axis=(2, 3)) > 1e-6  # (2, pairs)


def test_no_row_trains_both_twins_and_every_row_trains_one(rows):
    found = [changed(rows, [i]) for i in range(0, 90, 9)]
    assert all((twins.sum(axis=0) == 1).all() for twins in found)
    for pair in range(TWIN_PAIRS):
        assert {tuple(twins[:, pair]) for twins in found} == {(True, False), (False, True)}


def test_pairs_halve_rows_and_features_anew(rows):
    halves = np.array([changed(rows, [i])[0] for i in range(0, 90, 3)])
    assert len(np.unique(halves, axis=1).T) == TWIN_PAIRS
    weight = twin_heads(*rows, 3, STAGE, 0.03, seed=1).weight
    assert len(np.unique((weight[0] != 0).any(axis=1), axis=0)) == TWIN_PAIRS


def test_equal_texts_train_the_same_twin(rows):
    for i in range(0, 90, 30):  # rows 2 g and 2 g + 1 are of one group
        np.testing.assert_array_equal(changed(rows, [i]), changed(rows, [i + 1]))
        np.testing.assert_array_equal(changed(rows, [i]), changed(rows, [i, i + 1]))


def test_twins_are_heads_as_good_as_half_the_rows_make(rows):
    rng = np.random.default_rng(1)
    x, y, member = rows
    y_new = rng.integers(0, 3, 3000)
    new = rng.normal(size=(3000, 8)) + np.eye(3, 8)[y_new]
    twins = twin_heads(x, y, member, 3, STAGE, 0.03, seed=0)
    assert (twins.weight.shape, twins.bias.shape) == ((2, TWIN_PAIRS, 3, 8), (2, TWIN_PAIRS, 3))
    whole = np.mean(fit_head(x, y, member, 3, STAGE, 0).head(new).argmax(axis=1) == y_new)
    halves = np.mean(twins.labels(new) == y_new, axis=2)
    assert (halves > 0.4).all()
    assert halves.mean() < whole
    assert (twins.labels(new)[0] != twins.labels(new)[1]).any(axis=1).all()


def test_no_feature_is_read_by_both_twins(rows):
    x, y, member = rows
    read = (twin_heads(x, y, member, 3, STAGE, 0.03, seed=0).weight != 0).any(axis=2)
    assert (read.sum(axis=0) == 1).all()
    assert (read.sum(axis=2) == 4).all()


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_weak_strengths_are_left_out_and_would_not_have_been_chosen(rows, monkeypatch, noise):
    rng = np.random.default_rng(2)
    y, member = rows[1], np.arange(90)
    x = noise * rng.normal(size=(90, 8)) + np.eye(3, 8)[y]
    seen, asked = [], fitter.Fitter._risk
    monkeypatch.setattr(fitter.Fitter, "_risk", lambda self, *a: seen.append(asked(self, *a)) or seen[-1])
    some = fit_head(x, y, member, 3, STAGE, 0)
    tried = len(seen)
    assert tried < len(STRENGTHS)
    assert np.argmin(seen) == tried - 1 - fitter.PATIENCE
    monkeypatch.setattr(fitter, "PATIENCE", len(STRENGTHS))
    every = fit_head(x, y, member, 3, STAGE, 0)
    assert len(seen) == tried + len(STRENGTHS)
    assert some.l2 == every.l2
    np.testing.assert_array_equal(some.head.weight, every.head.weight)
    np.testing.assert_array_equal(some.out_of_fold, every.out_of_fold)


def test_a_head_is_solved_when_it_is_asked_for(rows, monkeypatch):
    from textlabel.models import heads as solvers

    solved, usual = [], solvers._descend
    monkeypatch.setattr(solvers, "_descend", lambda *a: solved.append(a[3]) or usual(*a))
    x, y, _ = rows
    found = softmax_regression(x, np.eye(3)[y], np.ones(90), [1.0, 0.1, 0.01])
    next(found)
    assert solved == [1.0]
    assert len(list(found)) == 2


FOLDS = {"name": "head", "ensemble": "folds"}


def mean_of(members, x):
    return np.mean([member(x) for member in members], axis=0)


@pytest.mark.parametrize("objective", ["cross_entropy", "ridge", "lda"])
def test_an_ensemble_of_folds_gives_the_mean_of_their_logits_and_is_calibrated_out_of_fold(rows, objective):
    alone = fit_head(*rows, 3, Stage.of("head", objective), 0)
    found = fit_head(*rows, 3, Stage.of(FOLDS, objective), 0)
    new = np.random.default_rng(2).normal(size=(40, 8))
    np.testing.assert_allclose(found.head(new), mean_of(found.members, new), atol=1e-9)
    assert len(found.members) == 5
    for one, other in zip(found.members, alone.members, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
    assert np.abs(found.head(new) - alone.head(new)).max() > 1e-3  # it is not the head of all rows
    # of each row by the one that did not train on it, never by the mean
    np.testing.assert_array_equal(found.out_of_fold, alone.out_of_fold)
    assert np.abs(found.out_of_fold - found.head(rows[0])).max() > 1e-3


def test_the_loss_of_an_ensemble_is_at_most_the_mean_of_theirs(rows):
    found = fit_head(*rows, 3, Stage.of(FOLDS, "cross_entropy"), 0)
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 500)
    x = rng.normal(size=(500, 8)) + np.eye(3, 8)[y]

    def loss(head):
        return float(np.mean(np.logaddexp.reduce(head(x), axis=1) - head(x)[np.arange(500), y]))

    assert loss(found.head) < np.mean([loss(member) for member in found.members])


def test_an_ensemble_learns_how_labels_spread_too(rows):
    tune = {**FOLDS, "spread": [0.5]}
    aside = Aside(unlabeled=np.random.default_rng(4).normal(size=(30, 8)))
    found = fit_head(*rows, 3, Stage.of(tune, "cross_entropy", "both"), 0, aside=aside)
    assert found.spread == 0.5
    np.testing.assert_allclose(found.head(rows[0]), mean_of(found.members, rows[0]), atol=1e-9)


def test_a_mean_of_heads_that_are_not_linear_is_refused(rows):
    with pytest.raises(RecipeError, match="mean of linear heads"):
        fit_head(*rows, 3, Stage.of(FOLDS, "knn"), 0)


def test_an_unknown_ensemble_is_refused_and_auto_takes_none():
    with pytest.raises(RecipeError, match=r"ensemble = 'fold' is unknown.*'folds'"):
        Stage.of({"name": "head", "ensemble": "fold"}, "cross_entropy")
    assert all(stage.tune.options.get("ensemble", "none") == "none" for stage in Recipe.load("auto").stages)
