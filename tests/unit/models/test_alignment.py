"""Rows aligned in closed form, against scipy, and on shifts that the source alone gets wrong."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from sklearn.covariance import LedoitWolf
from tiny import snippets

from textlabel import Labeler
from textlabel.engine.fitter import Aside
from textlabel.engine.head import fit_head
from textlabel.errors import RecipeError
from textlabel.models.alignment import MEET, coral, subspace
from textlabel.models.heads import Linear
from textlabel.recipe import Recipe, Stage

D = 5


def two_domains(n=1500):
    """Return source rows with labels, and target rows stretched along oblique axes and moved, with theirs."""
    rng = np.random.default_rng(0)
    y = np.arange(2 * n) % 2
    x = rng.normal(size=(2 * n, D)) + 2.5 * np.outer(2 * y - 1, [0.6, 0.8, 0, 0, 0])
    axes = np.linalg.qr(rng.normal(size=(D, D)))[0]
    return x[:n], y[:n], x[n:] @ (axes * [0.2, 5.0, 1.0, 4.0, 0.3]) @ axes.T + 2.0, y[n:]


def spurious(n=1500):
    """Return the like, where a feature that tells the class of a source row is loud noise in the target."""
    rng = np.random.default_rng(0)
    y = np.arange(2 * n) % 2
    x = rng.normal(size=(2 * n, D)) * [1.0, 1.0, 0.2, 0.2, 0.05] + np.outer(2 * y - 1, [1.5, 0, 0, 0, 0.1])
    x[n:, 4] = 4 * rng.normal(size=n)
    return x[:n], y[:n], x[n:], y[n:]


def stage(objective="cross_entropy", **options):
    rows = "both" if options.get("align", "none") != "none" else "labeled"
    return Stage.of({"name": "head", "l2": 0.01, "folds": 3, **options}, objective, rows)


def fitted(x, y, z, objective="cross_entropy", **options):
    return fit_head(x, y, np.arange(len(y)), 2, stage(objective, **options), 0, None, Aside(unlabeled=z))


def test_coral_is_scipys():
    rng = np.random.default_rng(0)
    source, target = (rng.normal(size=(n, D)) @ rng.normal(size=(D, D)) for n in (40, 70))
    roots = [scipy.linalg.sqrtm(LedoitWolf().fit(part).covariance_) for part in (source, target)]
    expected = scipy.linalg.solve(roots[0], (source - source.mean(axis=0)).T).T @ roots[1] + target.mean(0)
    np.testing.assert_allclose(coral(source, target).source(source), expected, atol=1e-8)
    np.testing.assert_array_equal(coral(source, target).target(target), target)


def test_subspaces_are_scipys_up_to_signs():
    rng = np.random.default_rng(0)
    source, target = (rng.normal(size=(n, D)) @ rng.normal(size=(D, D)) for n in (40, 70))
    spaces = [
        scipy.linalg.eigh(np.cov(part.T), subset_by_index=[D - 2, D - 1])[1] for part in (source, target)
    ]
    found = subspace(source, target, 2)
    own, theirs = source - source.mean(axis=0), target - target.mean(axis=0)
    left, cosines, right = scipy.linalg.svd(spaces[0].T @ spaces[1])
    cosines[cosines < MEET] = 0.0
    assert cosines.min() == 0.0 < cosines.max()  # one pair meets, one does not
    meeting = left * cosines @ right
    # inner products of a row of the source with one of the target, which no sign and no order changes
    expected = own @ spaces[0] @ meeting @ (theirs @ spaces[1]).T
    np.testing.assert_allclose(found.source(source) @ found.target(target).T, expected, atol=1e-8)


def test_equal_domains_stay_and_so_does_the_head():
    x, y, _, _ = two_domains()
    np.testing.assert_allclose(coral(x, x).source(x), x, atol=1e-9)
    plain, moved = fitted(x, y, x), fitted(x, y, x, align="coral")
    np.testing.assert_allclose(moved.head.weight, plain.head.weight, atol=1e-4)
    every = subspace(x, x, D)
    np.testing.assert_allclose(every.source(x) @ every.target(x).T, (x - x.mean(0)) @ (x - x.mean(0)).T)


@pytest.mark.parametrize(("align", "domains"), [("coral", two_domains), ("subspace", spurious)])
def test_what_the_source_alone_gets_wrong(align, domains):
    x, y, z, truth = domains()
    right = {
        name: np.mean(fitted(x, y, z, align=name, align_dims=2).head(z).argmax(axis=1) == truth)
        for name in ("none", align)
    }
    assert right["none"] < 0.8
    assert right[align] > 0.9


def test_the_head_is_of_untouched_features():
    rng = np.random.default_rng(1)
    x, y, z, _ = two_domains(n=200)
    moved = subspace(x, z, 3)
    head = Linear(rng.normal(size=(2, 3)), rng.normal(size=2))
    np.testing.assert_allclose(moved.fold(head)(z), head(moved.target(z)))
    found = fitted(x, y, z, align="subspace", align_dims=3)
    assert found.head.weight.shape == (2, D)
    inside = np.linalg.svd(z - z.mean(0), full_matrices=False)[2][:3]
    np.testing.assert_allclose(found.head.weight @ inside.T @ inside, found.head.weight, atol=1e-9)


def test_out_of_fold_logits_are_those_of_moved_rows_by_members_without_them():
    x, y, z, _ = two_domains(n=60)
    found = fitted(x, y, z, align="coral")
    there = coral(x, z).source(x)
    said = np.stack([member(there) for member in found.members])
    assert (np.abs(said - found.out_of_fold).max(axis=2).min(axis=0) < 1e-9).all()


def test_shares_of_classes_that_differ_lead_it_astray():
    """The pitfall: the variance between classes is matched, too, as if it were the domain's."""
    rng = np.random.default_rng(0)
    y, truth = np.arange(1000) % 2, (np.arange(1000) % 10 == 0).astype(int)
    x, z = (rng.normal(size=(1000, D)) + 2.5 * np.outer(2 * t - 1, np.eye(D)[0]) for t in (y, truth))
    right = {
        name: np.mean(fitted(x, y, z, align=name).head(z).argmax(axis=1) == truth)
        for name in ("none", "coral")
    }
    assert right["none"] > 0.98
    assert right["coral"] < right["none"] - 0.1


def test_fewer_rows_than_features_and_one_that_never_varies():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(6, 20)), rng.normal(size=(9, 20)) * 2
    source[:, 3] = target[:, 3] = 1.0
    assert np.isfinite(coral(source, target).source(source)).all()
    assert 1 <= subspace(source, target, 50).source(source).shape[1] <= 5


def test_what_cannot_be():
    with pytest.raises(RecipeError, match="did you mean 'coral'"):
        stage(align="corall")
    with pytest.raises(RecipeError, match="align_dims = 0; expected 1 or more"):
        stage(align="subspace", align_dims=0)
    with pytest.raises(RecipeError, match="but the stage reads rows = 'both'"):
        Stage.of({"name": "head", "align": "coral"}, "cross_entropy")
    x, y, z, _ = two_domains(n=60)
    with pytest.raises(RecipeError, match="becomes part of a linear head"):
        fitted(x, y, z, "knn", align="subspace", align_dims=2)
    assert fitted(x, y, z, "knn", align="coral").head(z).shape == (60, 2)
    with pytest.raises(RecipeError, match="2 unlabeled ones of other texts, got 60 and 1"):
        fitted(x, y, z[:1], align="coral")


def test_a_recipe_that_aligns_labels_texts(tiny_backbone):
    rows, corpus = snippets(40), snippets(30, seed=2)
    recipe = Recipe("moved", (stage(align="coral"),))
    with pytest.raises(RecipeError, match="reads unlabeled rows"):
        Labeler(tiny_backbone, recipe).fit(rows)
    with pytest.raises(RecipeError, match="has align: its head is of the unlabeled rows' domain"):
        Labeler(tiny_backbone, recipe, calibration="holdout").fit(rows, corpus)
    labeler = Labeler(tiny_backbone, recipe).fit(rows, corpus)
    assert labeler.bundle.classifier.head.weight.isfinite().all()
    assert labeler.record()["recipe"]["stage"][0]["tune"]["align"] == "coral"
