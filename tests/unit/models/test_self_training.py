"""Heads that learn from what they say of unlabeled rows: what is chosen, where it helps and where not."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.datasets import make_moons
from tiny import snippets

from textlabel import Labeler
from textlabel.cli.fit import render
from textlabel.engine.fitter import Aside, Fitter, Kind
from textlabel.engine.head import fit_head
from textlabel.engine.self_training import SelfTraining
from textlabel.errors import RecipeError
from textlabel.models.heads import Linear
from textlabel.models.self_training import Selection, doubts, students
from textlabel.recipe import Recipe, Stage
from textlabel.task_steps import learned
from textlabel.tune.head import Options

D = 8


def stage(select, objective="cross_entropy", **options):
    if select:
        options = {"self_train": select, "least_agreement": 0.0, **options}
    rows = "both" if select else "labeled"
    return Stage.of({"name": "head", "l2": 0.1, "folds": 3, **options}, objective, rows)


def fitted(x, y, z, select, shares=None, **options):
    aside = Aside(unlabeled=z, shares=shares)
    return fit_head(x, y, np.arange(len(y)), int(y.max()) + 1, stage(select, **options), 0, None, aside)


def right(fit, z, truth):
    return float(np.mean(fit.head(z).argmax(axis=1) == truth))


def domain(n, positive, seed, turn=0.0, gap=1.6):
    """Return rows of which a share is positive, where classes lie apart along a direction that is turned."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) < positive * n).astype(int)[rng.permutation(n)]
    along = np.cos(turn) * np.eye(D)[0] + np.sin(turn) * np.eye(D)[1]
    return rng.normal(size=(n, D)) * 0.7 + gap * np.outer(2 * y - 1, along), y


def test_as_many_of_each_class_as_the_shares_say():
    logits = np.random.default_rng(0).normal(loc=[1.0, 0.0, 0.0], size=(200, 3))
    shares = np.array([0.2, 0.3, 0.5])
    counts = []
    for number in (1, 2, 5):
        found = Selection("prior").chosen(logits, number, shares, None)
        counts.append(np.bincount(found.targets) / 200)
    np.testing.assert_allclose(counts[0], 0.2 * shares, atol=0.01)
    np.testing.assert_allclose(counts[1], 0.4 * shares, atol=0.01)
    np.testing.assert_allclose(counts[2], shares, atol=0.03)
    capped = Selection("prior", most=0.3).chosen(logits, 5, shares, None)
    assert len(capped.rows) == pytest.approx(60, abs=3)


def test_those_that_heads_agree_on_come_first_and_count_most():
    rng = np.random.default_rng(0)
    heads = [Linear(rng.normal(size=(3, D)), np.zeros(3)) for _ in range(4)]
    rows = rng.normal(size=(50, D))
    p = np.stack([np.exp(head(rows)) / np.exp(head(rows)).sum(axis=1, keepdims=True) for head in heads])
    bald = entropy(p.mean(axis=0), axis=1) - entropy(p, axis=2).mean(axis=0)
    doubt = doubts(heads, rows)
    np.testing.assert_allclose(doubt, bald / np.log(3), atol=1e-9)
    found = Selection("uncertain", grow=0.3).chosen(heads[0](rows), 1, None, doubt)
    said = heads[0](rows).argmax(axis=1)
    for c in range(3):
        taken = found.rows[found.targets == c]
        left = np.setdiff1d(np.flatnonzero(said == c), taken)
        assert doubt[taken].max() <= doubt[left].min()
    np.testing.assert_allclose(found.weights, 1 - doubt[found.rows])


@pytest.mark.parametrize("select", ["balanced", "prior", "uncertain"])
def test_a_domain_that_the_source_alone_gets_wrong(select):
    gains = []
    for seed in range(3):
        x, y = domain(60, 0.5, seed)
        z, truth = domain(600, 0.5, 50 + seed, turn=1.1)
        alone, trained = (right(fitted(x, y, z, name, folds=3), z, truth) for name in ("", select))
        assert alone < 0.9
        gains.append(trained - alone)
    assert np.mean(gains) > 0.05


def test_balanced_is_wrong_where_shares_shift_and_true_shares_are_not():
    x, y = domain(100, 0.5, 0, gap=1.0)
    z, truth = domain(1000, 0.9, 1, gap=1.0)
    alone = right(fitted(x, y, z, ""), z, truth)
    balanced = right(fitted(x, y, z, "balanced"), z, truth)
    told = right(fitted(x, y, z, "prior", np.array([0.1, 0.9])), z, truth)
    assert balanced < alone - 0.1
    assert told >= alone - 0.01


def moons(n, seed, degrees=0.0):
    """Return two moons, turned, by their nearness to points of a grid, where a line tells them apart."""
    x, y = make_moons(n, noise=0.1, random_state=seed)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x = (x - [0.5, 0.25]) @ np.array([[cos, sin], [-sin, cos]])
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 8), np.linspace(-2, 2, 8)), axis=-1).reshape(-1, 2)
    return np.exp(-2 * ((x[:, None] - grid) ** 2).sum(axis=-1)), y


@pytest.mark.slow
def test_moons_that_have_turned():
    alone, trained = [], []
    for seed in range(2):
        x, y = moons(120, seed)
        z, truth = moons(400, 50 + seed, degrees=30)
        alone.append(right(fitted(x, y, z, "", l2=0.03), z, truth))
        trained.append(right(fitted(x, y, z, "balanced", l2=0.03), z, truth))
    assert np.mean(alone) < 0.92
    assert np.mean(trained) > np.mean(alone) + 0.05


def test_labels_that_are_kept_from_the_first_round_stay_wrong():
    """Confirmation bias: a round that labels all rows anew gives up errors that a row's first label holds."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 2))
    wrong = Linear(np.array([[0.0, 1.0], [0.0, -1.0]]), np.zeros(2))
    better = Linear(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2))
    seen = []

    def fit(pseudo):
        seen.append(pseudo)
        return better

    truth = (rows[:, 0] < 0).astype(int)
    errors = {}
    for restart in (True, False):
        seen.clear()
        selection = Selection("uncertain", grow=0.5, restart=restart)
        list(islice(students(wrong, rows, fit, selection), 2))
        errors[restart] = float(np.mean(seen[1].targets != truth[seen[1].rows]))
    assert errors[True] == 0.0
    assert errors[False] > 0.2


def test_rows_that_are_kept_count_toward_the_most():
    """A teacher that changes its mind chooses others each round: what was kept takes their places."""
    rows = np.random.default_rng(0).normal(size=(200, 2))
    heads = [Linear(np.array([w, [-w[0], -w[1]]]), np.zeros(2)) for w in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0])]
    turn, seen = iter([*heads, *heads]), []

    def fit(pseudo):
        seen.append(pseudo)
        return next(turn)

    selection = Selection("balanced", grow=0.25, most=0.25, restart=False)
    list(islice(students(heads[0], rows, fit, selection, np.array([0.5, 0.5])), 5))
    assert [len(one.rows) for one in seen] == [50] * 5
    assert all(len(np.unique(one.rows)) == 50 for one in seen)


@pytest.mark.parametrize("select", ["balanced", "prior", "uncertain"])
def test_a_rows_label_reaches_no_head_that_lacks_its_fold(select):
    x, y = domain(60, 0.5, 0)
    z, _ = domain(200, 0.5, 1, turn=0.8)
    tune = {"self_train": select, "least_agreement": 0.0}
    asked, corpus = stage(select), Aside(unlabeled=z)
    one = Fitter(x, y, np.arange(60), 2, asked, 0, None, corpus)
    held = np.flatnonzero(one.fold == 0)
    swapped = y.copy()
    swapped[held] = 1 - y[held]
    other = Fitter(x, swapped, np.arange(60), 2, asked, 0, None, corpus)
    other.fold = one.fold
    kind, found = Kind(0.0, 0.0), []
    for fitter in (one, other):
        training = SelfTraining(fitter, Options(**tune), kind, 0.1, 0.0)
        for k in (0, 1):
            rows = np.flatnonzero(fitter.fold != k)
            learning = training._students(rows, training._linear(rows))
            found.append(list(islice(learning, 3))[-1].weight)
    np.testing.assert_array_equal(found[0], found[2])  # without fold 0, whose labels alone differ
    assert not np.allclose(found[1], found[3])
    fit = fitted(x, y, z, select)
    said = np.stack([member(x) for member in fit.members])
    assert (np.abs(said - fit.out_of_fold).max(axis=2).min(axis=0) < 1e-9).all()


def test_heads_of_halves_that_do_not_agree_leave_the_head_as_it_was():
    x, y = domain(60, 0.5, 0)
    z, truth = domain(400, 0.5, 1, turn=0.5)
    plain = fitted(x, y, z, "")
    kept = fitted(x, y, z, "prior", least_agreement=0.9)
    assert kept.self_trained.rounds
    assert kept.self_trained.agreement > 0.9
    assert right(kept, z, truth) >= right(plain, z, truth)
    x, y = domain(20, 0.5, 3, gap=0.2)
    given_up = fitted(x, y, z, "prior", least_agreement=0.9)
    assert given_up.self_trained.rounds == 0
    assert given_up.self_trained.agreement < 0.9
    np.testing.assert_array_equal(given_up.head.weight, fitted(x, y, z, "").head.weight)


def test_it_ends_where_labels_settle_and_where_labeled_rows_speak_against_it():
    x, y = domain(90, 0.5, 0, gap=3.0)
    z, _ = domain(300, 0.5, 1, gap=3.0)
    settled = fitted(x, y, z, "prior").self_trained
    assert (settled.rounds, settled.ended) == (1, "labels had settled")
    x, y = domain(300, 0.5, 0, gap=1.2)
    rng = np.random.default_rng(2)
    apart = rng.normal(size=(300, D)) + 6 * np.outer(
        rng.choice([-1, 1], 300), np.eye(D)[0] + 9 * np.eye(D)[5]
    )
    ended = fitted(x, y, apart, "prior").self_trained
    assert ended.ended == "labeled rows spoke against a further round"


def test_a_recipe_tells_what_became_of_it(tiny_backbone):
    rows, corpus = snippets(40), snippets(30, seed=2)
    with pytest.raises(RecipeError, match="reads unlabeled rows"):
        Labeler(tiny_backbone, "self_training").fit(rows)
    recipe = Recipe("own", (stage("prior", class_shares="positive=.7,negative=.3"),))
    labeler = Labeler(tiny_backbone, recipe).fit(rows, corpus)
    assert set(labeler.record()["head"]["self_training"]) == {"rounds", "agreement", "ended"}
    same = Labeler(tiny_backbone, recipe).fit(rows, corpus)  # as after a kill
    assert learned(labeler)["self_training"] == labeler.record()["head"]["self_training"]
    assert "rounds kept (" in render(learned(labeler))
    heads = [one.bundle.classifier.head.weight.detach().numpy() for one in (labeler, same)]
    np.testing.assert_array_equal(*heads)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"self_train": "balance"}, "did you mean 'balanced'"),
        ({"self_train": "prior", "rounds": 0}, "expected 1 or more rounds"),
        ({"self_train": "prior", "grow": 0.0}, "shares in"),
        ({"self_train": "prior", "least_agreement": 1.5}, "least_agreement = 1.5"),
        ({"self_train": "balanced", "class_shares": "a=1"}, "is for self_train = 'prior'"),
    ],
)
def test_what_cannot_be(options, message):
    with pytest.raises(RecipeError, match=message):
        Stage.of({"name": "head", **options}, "cross_entropy", "both")


def test_solvers_that_cannot_weigh_rows_and_too_few_texts_are_refused():
    x, y = domain(30, 0.5, 0)
    with pytest.raises(RecipeError, match="objective = 'cross_entropy'"):
        fitted(x, y, x + 1, "prior", objective="ridge")
    with pytest.raises(RecipeError, match="at least 2, got 1"):
        fitted(x, y, x[:1], "prior")
