"""What the heads that are not linear learn, and by which rows their settings are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from textlabel.engine.head import fit_head
from textlabel.errors import RecipeError
from textlabel.models.heads import one_hot
from textlabel.models.nonlinear import shares, unit_rows
from textlabel.objective import knn, mlp
from textlabel.recipe import Recipe, Stage


def crossed(n=120, seed=0):
    """Return rows of which no linear head can tell the class: whether two signs are the same."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)) * 0.3 + rng.choice([-1.0, 1.0], size=(n, 2))
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


@pytest.mark.parametrize("objective", [{"name": "mlp", "steps": 100}, "knn"])
def test_what_no_line_parts_is_learned(objective):
    (x, y), (others, truth) = crossed(), crossed(seed=1)
    strength = {"l2": 0.1} if objective != "knn" else {}
    stage = Stage.of(tune={"name": "head", **strength}, objective=objective)
    found = fit_head(x, y, np.arange(len(y)), 2, stage, 0)
    line = fit_head(x, y, np.arange(len(y)), 2, Stage.of(tune="head", objective="cross_entropy"), 0)
    right = {name: (fit.head(others).argmax(axis=1) == truth).mean() for name, fit in
             (("this", found), ("line", line))}  # fmt: skip
    assert right["line"] < 0.7 < 0.95 < right["this"]
    assert (found.out_of_fold.argmax(axis=1) == y).mean() > 0.9
    assert len(found.members) == 5


def test_equal_rows_make_equal_networks_and_decay_shrinks_them():
    x, y = crossed()
    strong, weak = mlp.fit_linear(x, y, 2, [3.0, 0.01], mlp.Options(steps=50))
    [again] = mlp.fit_linear(x, y, 2, [0.01], mlp.Options(steps=50))
    np.testing.assert_array_equal(again(x), weak(x))
    assert np.abs(strong.outward).sum() < np.abs(weak.outward).sum()


def test_more_rows_than_a_step_reads():
    x, y = crossed(3 * mlp.BATCH)
    [head] = mlp.fit_linear(x, y, 2, [0.1], mlp.Options(steps=100))
    assert (head(x).argmax(axis=1) == y).mean() > 0.95


def test_features_that_do_not_vary_have_no_say():
    x, y = crossed()
    [head] = mlp.fit_linear(np.column_stack([x, np.full(len(x), 5.0)]), y, 2, [0.1], mlp.Options(steps=20))
    assert np.abs(head.inward[:, 2]).max() == 0


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"steps": 0}, {"learning_rate": 0.0}, {"dropout": 1.0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError, match="mlp: hidden = "):
        mlp.Options(**wrong)


def test_a_row_is_judged_by_the_others_alone():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(25, 4)), rng.integers(0, 3, 25)
    rows, soft = unit_rows(x, x.mean(axis=0)), one_hot(y, 3)
    for temperature, loss in zip([0.05, 1.0], knn.left_out_losses(x, y, 3, [0.05, 1.0]), strict=True):
        by_count = []
        for count in knn.COUNTS:
            total = 0.0
            for i in range(25):
                others = np.delete(np.arange(25), i)
                [found] = shares(rows[[i]] @ rows[others].T, soft[others], [count], temperature)
                total -= found[0, y[i]]
            by_count.append(total / 25)
        assert loss == pytest.approx(min(by_count))


def test_a_row_given_twice_does_not_answer_for_itself():
    """Labels are drawn by lot: who sees the twin of a row knows its label, and would take one neighbor."""
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=(60, 4)), 2, axis=0), np.repeat(rng.integers(0, 2, 60), 2)
    [head] = knn.fit_linear(x, y, 2, [0.1], knn.Options())
    assert head.settings[0] > 3
    assert knn.left_out_losses(x, y, 2, [0.1])[0] > 0.6


def test_more_rows_than_are_left_out_in_turn(monkeypatch):
    x, y = crossed(200)
    every = knn.left_out_losses(x, y, 2, [0.1])
    monkeypatch.setattr(knn, "LEFT_OUT", 100)
    some = knn.left_out_losses(x, y, 2, [0.1])
    assert some != every
    assert some[0] == pytest.approx(every[0], abs=0.1)


@pytest.mark.parametrize("name", ["mlp", "knn"])
def test_nothing_follows_a_head_that_nothing_trains_further(name):
    first, second = Stage.of(tune="head", objective=name), Stage.of(tune="lora", objective="cross_entropy")
    with pytest.raises(RecipeError, match=f"nothing trains the head of '{name}' further"):
        Recipe("x", (first, second))
    assert Recipe("x", (second, first)).keeps_rows == (name == "knn")
    with pytest.raises(RecipeError, match=f"objective '{name}' is solved in closed form"):
        Stage.of(tune="lora", objective=name)
