from __future__ import annotations

import numpy as np
import pytest

from textlabel.engine.head import fit_head, twin_heads
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
    return [not np.allclose(a, b) for a, b in zip(before.weight, after.weight, strict=True)]


def test_no_row_trains_both_twins_and_every_row_trains_one(rows):
    found = [changed(rows, [i]) for i in range(0, 90, 9)]
    assert all(sum(twins) == 1 for twins in found)
    assert {tuple(twins) for twins in found} == {(True, False), (False, True)}


def test_equal_texts_train_the_same_twin(rows):
    for i in range(0, 90, 30):  # rows 2 g and 2 g + 1 are of one group
        assert changed(rows, [i]) == changed(rows, [i + 1]) == changed(rows, [i, i + 1])


def test_twins_are_heads_as_good_as_half_the_rows_make(rows):
    rng = np.random.default_rng(1)
    x, y, member = rows
    y_new = rng.integers(0, 3, 3000)
    new = rng.normal(size=(3000, 8)) + np.eye(3, 8)[y_new]
    twins = twin_heads(x, y, member, 3, STAGE, 0.03, seed=0)
    assert (twins.weight.shape, twins.bias.shape) == ((2, 3, 8), (2, 3))
    whole = np.mean(fit_head(x, y, member, 3, STAGE, 0).head(new).argmax(axis=1) == y_new)
    halves = np.mean(twins.labels(new) == y_new, axis=1)
    assert (halves > 0.4).all()
    assert halves.mean() < whole
    assert (twins.labels(new)[0] != twins.labels(new)[1]).any()


def test_no_feature_is_read_by_both_twins(rows):
    x, y, member = rows
    read = (twin_heads(x, y, member, 3, STAGE, 0.03, seed=0).weight != 0).any(axis=1)
    assert (read.sum(axis=0) == 1).all()
    assert read.sum(axis=1).tolist() == [4, 4]
