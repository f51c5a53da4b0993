"""lda, prototype and ridge are what other implementations, or slow loops, make of the same rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from tiny import snippets
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.engine.fitter import Aside
from textlabel.engine.head import fit_head
from textlabel.engine.solvers import REFERENCE_ROWS, STRENGTHS
from textlabel.errors import RecipeError
from textlabel.models.heads import Linear, best_scale, leave_one_out, ridge
from textlabel.objective import lda, prototype
from textlabel.objective import ridge as one_hot_ridge
from textlabel.recipe import Recipe, Stage


def rows(n, d, k=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), np.arange(k), rng.integers(0, k, n - 2 * k)])
    return rng.normal(size=(n, d)) * rng.uniform(0.5, 2, d) + np.eye(k, d)[y] + 5, y


@pytest.mark.parametrize(("n", "d"), [(200, 10), (30, 80)])
@pytest.mark.parametrize("shrinkage", [0.05, 0.5])
@pytest.mark.parametrize("priors", ["empirical", "balanced"])
def test_lda_equals_scikit_learn(n, d, shrinkage, priors):
    x, y = rows(n, d)
    [_, ours] = lda.fit_linear(x, y, 3, [1.0, shrinkage / (1 - shrinkage)], lda.Options())
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x, y)
    # balanced priors of theirs also weigh the covariances of classes alike, which ours does not
    logits = theirs.decision_function(x) - (np.log(theirs.priors_) if priors == "balanced" else 0)
    [ours] = lda.fit_linear(x, y, 3, [shrinkage / (1 - shrinkage)], lda.Options(priors))
    np.testing.assert_allclose(log_softmax(ours(x), axis=1), log_softmax(logits, axis=1), atol=1e-6)


def test_lda_counts_parts_of_rows_as_repeated_rows():
    x, y = rows(40, 60)
    parts = np.eye(3)[y]
    parts[0] = [0.5, 0.5, 0.0]
    twice = np.repeat(np.arange(40), 2)
    labels = y[twice]
    labels[:2] = [0, 1]
    [soft], [hard] = (
        lda.fit_linear(f, t, 3, [0.3], lda.Options()) for f, t in ((x, parts), (x[twice], labels))
    )
    np.testing.assert_allclose(soft(x), hard(x), atol=1e-7)


@pytest.mark.parametrize("soft", [False, True])
def test_prototype_equals_a_slow_loop(soft):
    x, y = rows(30, 50)
    targets = np.random.default_rng(1).dirichlet(np.ones(3), 30) if soft else np.eye(3)[y]
    means = [np.average(x, axis=0, weights=targets[:, c]) for c in range(3)]
    pairs = [(i, c) for i in range(30) for c in range(3)]
    within = sum(targets[i, c] * np.sum((x[i] - means[c]) ** 2) for i, c in pairs) / 30
    logits = np.array([[-np.sum((row - mean) ** 2) / (0.4 * within) for mean in means] for row in x])
    [ours] = prototype.fit_linear(x, targets if soft else y, 3, [0.4], prototype.Options())
    np.testing.assert_allclose(log_softmax(ours(x), axis=1), log_softmax(logits, axis=1), atol=1e-8)


def test_prototype_labels_as_nearest_centroid_does():
    x, y = rows(60, 20)
    new = rows(500, 20, seed=1)[0]
    [ours] = prototype.fit_linear(x, y, 3, [0.1], prototype.Options())
    np.testing.assert_array_equal(ours(new).argmax(axis=1), NearestCentroid().fit(x, y).predict(new))


def test_rows_of_one_class_that_are_alike_give_a_finite_prototype():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [3.0, 4.0]])
    [head] = prototype.fit_linear(x, np.array([0, 0, 1, 1]), 2, [0.1], prototype.Options())
    assert np.isfinite(head(x)).all()
    assert head(x).argmax(axis=1).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("n", "d"), [(40, 6), (20, 50)])
def test_leave_one_out_equals_brute_force(n, d):
    x, y = rows(n, d)
    z, soft = StandardScaler().fit_transform(x), np.eye(3)[y]
    for l2, held in zip([0.01, 1.0], leave_one_out(x, soft, [0.01, 1.0]), strict=True):
        for i in range(n):
            others = np.arange(n) != i
            theirs = Ridge(alpha=l2 * n).fit(z[others], soft[others]).predict(z[[i]])[0]
            np.testing.assert_allclose(held[i], theirs, atol=1e-6)


def test_rows_of_one_text_are_left_out_together():
    """Leaving out one of two copies would leave the answer in, and the weakest penalty would look best."""
    x, y = rows(20, 50)
    noise = 1e-6 * np.random.default_rng(3).normal(size=x.shape)  # a backend may round two copies differently
    twice, soft = np.concatenate([x, x + noise, x[:1]]), np.eye(3)[np.concatenate([y, y, y[:1]])]
    z = StandardScaler().fit_transform(twice)
    [held] = leave_one_out(twice, soft, [0.1])
    for i in range(20):
        others = ~np.isin(np.arange(41) % 40 % 20, i)
        theirs = Ridge(alpha=0.1 * 41).fit(z[others], soft[others]).predict(z[[i]])[0]
        np.testing.assert_allclose(held[[i, i + 20]], [theirs, theirs], atol=1e-4)


def test_copies_of_all_rows_change_nothing_of_what_is_left_out():
    x, y = rows(20, 50)
    for l2 in (1e-4, 1.0):
        [once], [twice] = (
            leave_one_out(x, np.eye(3)[y], [l2]),
            leave_one_out(np.tile(x, (2, 1)), np.tile(np.eye(3)[y], (2, 1)), [l2]),
        )
        np.testing.assert_allclose(twice, np.tile(once, (2, 1)), atol=1e-6)


def test_outputs_of_ridge_are_logits_at_the_temperature_of_rows_left_out():
    x, y = rows(3300, 5, seed=4)
    x, y, new, truth = x[:300], y[:300], x[300:], y[300:]
    [head], [plain] = (
        one_hot_ridge.fit_linear(x, y, 3, [0.01], one_hot_ridge.Options()),
        ridge(x, np.eye(3)[y], [0.01]),
    )
    scale = head.weight / plain.weight
    np.testing.assert_allclose(scale, scale[0, 0])

    def loss(factor):
        return -log_softmax(factor * head(new), axis=1)[np.arange(3000), truth].mean()

    assert loss(1.0) < min(loss(0.5), loss(2.0))


def test_the_penalty_of_ridge_is_chosen_by_leaving_rows_out():
    x, y = rows(60, 100)
    stage = Recipe.load("ridge").stages[0]
    found = fit_head(x, y, np.arange(60), 3, stage, seed=0)
    scaled = np.array(STRENGTHS) * REFERENCE_ROWS / 60
    losses = one_hot_ridge.left_out_losses(x, y, 3, scaled)
    assert found.l2 == STRENGTHS[int(np.argmin(losses))]
    names = Aside(names=np.eye(3, 100)[None])
    named = Stage.of(tune={"name": "head", "name_weights": [0, 3]}, objective="ridge")
    assert fit_head(x, y, np.arange(60), 3, named, 0, aside=names).name_weight in (0, 3)


def test_lda_is_as_sure_as_it_is_right_where_features_outnumber_rows():
    x, y = rows(1024, 1500, seed=1)
    few, stage = slice(24), Recipe.load("lda").stages[0]
    found = fit_head(x[few], y[few], np.arange(24), 3, stage, 0)
    [raw] = lda.fit_linear(x[few], y[few], 3, [found.l2], lda.Options())
    outputs = {"fitted": found.head(x[24:]), "raw": raw(x[24:])}
    sure = {k: np.exp(log_softmax(z, axis=1)).max(axis=1).mean() for k, z in outputs.items()}
    right = np.mean(outputs["fitted"].argmax(axis=1) == y[24:])
    assert sure["raw"] > 0.95 > right + 0.2  # what the formula says by itself
    assert abs(sure["fitted"] - right) < 0.15
    assert best_scale(found.out_of_fold, np.eye(3)[y[few]])[0] == pytest.approx(1.0, abs=0.05)
    logits = [found.members[0](x), found.head(x)]
    assert np.abs(logits[0]).mean() == pytest.approx(np.abs(logits[1]).mean(), rel=0.5)  # one factor for all


def test_the_strength_of_lda_is_chosen_whatever_the_scale_of_its_outputs(monkeypatch):
    x, y = rows(48, 300, seed=2)
    stage, usual = Recipe.load("lda").stages[0], lda.fit_linear

    def louder(*given):
        return [Linear(5 * head.weight, 5 * head.bias) for head in usual(*given)]

    before = fit_head(x, y, np.arange(48), 3, stage, 0)
    monkeypatch.setattr(lda, "fit_linear", louder)
    after = fit_head(x, y, np.arange(48), 3, stage, 0)
    assert after.l2 == before.l2
    np.testing.assert_allclose(after.head.weight, before.head.weight, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", ["lda", "prototype", "ridge"])
@pytest.mark.parametrize("rest", [{"tune": "lora"}, {"tune": "full"}, {"objective": "cross_entropy"}])
def test_a_closed_form_is_refused_where_it_cannot_be(name, rest):
    objective = [name, rest["objective"]] if "objective" in rest else name
    with pytest.raises(RecipeError, match=f"'{name}' is solved in closed form"):
        Stage.of(tune=rest.get("tune", "head"), objective=objective)


def test_unknown_priors_are_refused():
    with pytest.raises(RecipeError, match="expected 'empirical' or 'balanced'"):
        Stage.of(tune="head", objective={"name": "lda", "priors": "equal"})


@pytest.mark.parametrize("name", ["lda", "prototype", "ridge"])
def test_the_command_fits_and_labels_by_it(name, tiny_backbone, tmp_path):
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(24)), encoding="utf-8")
    model, out = str(tmp_path / "model"), str(tmp_path / "labeled")
    fit = ["fit", str(train), "--backbone", str(tiny_backbone), "--recipe", name, "--out", model, "--json"]
    found = CliRunner().invoke(app, fit, catch_exceptions=False)
    assert found.exit_code == 0
    assert json.loads(found.stdout)["calibrator"]
    labeled = CliRunner().invoke(
        app, ["annotate", str(train), "--model", model, "--out", out, "--format", "jsonl"]
    )
    assert labeled.exit_code == 0, labeled.output


def test_the_temperature_of_prototypes_does_not_depend_on_how_many_rows_there_are():
    """Heads of the folds, by which it is calibrated, are as sure as the head of all rows."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 5
    x = 2.0 * rng.normal(size=(5, 12))[y] + 2.0 * rng.normal(size=(200, 12))
    fitted = fit_head(x, y, np.arange(200), 5, Stage.of("head", "prototype"), 0)
    of_folds = [np.linalg.norm(head.weight) for head in fitted.members]
    assert np.linalg.norm(fitted.head.weight) == pytest.approx(np.mean(of_folds), rel=0.1)


@pytest.mark.parametrize("k", [2, 3])
def test_lda_of_rows_that_are_all_alike_within_classes(k):
    """Half of two rows a class is one, which has no scatter."""
    y = np.repeat(np.arange(k), 2)
    x = np.random.default_rng(k).normal(size=(k, 20))[y]
    for head in lda.fit_linear(x, y, k, [1e-3, 1.0], lda.Options()):
        assert np.abs(head.weight).max() < 1e4
        assert (head(x).argmax(axis=1) == y).all()
