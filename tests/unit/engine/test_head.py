from __future__ import annotations

import numpy as np
import pytest

from textlabel.engine import head as heads
from textlabel.engine.head import STRENGTHS, TWIN_PAIRS, fit_head, twin_heads
from textlabel.models.heads import softmax_regression
from textlabel.recipe import Recipe

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
    seen, asked = [], heads._Fitter._risk
    monkeypatch.setattr(heads._Fitter, "_risk", lambda self, *a: seen.append(asked(self, *a)) or seen[-1])
    some = fit_head(x, y, member, 3, STAGE, 0)
    tried = len(seen)
    assert tried < len(STRENGTHS)
    assert np.argmin(seen) == tried - 1 - heads.PATIENCE
    monkeypatch.setattr(heads, "PATIENCE", len(STRENGTHS))
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
