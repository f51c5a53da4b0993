"""Objectives without labels: terms are those of formulas, and what stays, stays to the bit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from points import Points, context_of, points
from scipy.special import softmax
from torch import nn

from textlabel import registry
from textlabel.engine import loop
from textlabel.engine.checkpoint import Checkpoint
from textlabel.errors import RecipeError
from textlabel.objective import entropy_of_mean, mean_entropy, read_rows, without_dropout
from textlabel.objective.shot import nearest_centroids
from textlabel.protocols import Batch, Rows
from textlabel.recipe import Recipe, Stage

NAMES = ["shot", "tent"]
LOGITS = 2 * np.random.default_rng(0).normal(size=(7, 3))


def entropy(p):
    return -(p * np.log(p)).sum(axis=-1)


def surer(logits):
    return entropy(softmax(logits, axis=1)).mean()


def diverse(logits):
    return entropy(softmax(logits, axis=1).mean(axis=0))


def numerical(function, place, step=1e-6):
    """Return the gradient of a function of an array by central differences."""
    found = np.zeros_like(place)
    for at in np.ndindex(place.shape):
        moved = np.zeros_like(place)
        moved[at] = step
        found[at] = (function(place + moved) - function(place - moved)) / (2 * step)
    return found


def weights(given):
    return {name: value.clone() for name, value in given.classifier.state_dict().items()}


def context(n=11):
    """Points of three classes without labels, of a linear body."""
    rng = np.random.default_rng(2)
    found = context_of(rng.normal(size=(4, 4)), [0, 1, 2, 0], rng.normal(size=(n, 4)))
    del found.rows["labeled"]  # nothing may ask for them
    return found


def objective_of(given, name, **options):
    module = registry.load("objective", name)
    return module.Objective(module.Options(**options), given)


def loss_of(given, objective, index):
    list(objective.batches(len(index), np.random.default_rng(0)))
    return objective.loss("model", Batch({"unlabeled": index}, {"unlabeled": len(index)}))


def plan(name, **training):
    return Stage.of("full", name, "unlabeled", **{"mixed_precision": "no", **training})


# --- terms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("term", "slow"), [(mean_entropy, surer), (entropy_of_mean, diverse)])
def test_a_term_and_its_gradient_are_those_of_the_formula(term, slow):
    logits = torch.tensor(LOGITS).requires_grad_()
    found = term(logits)
    found.backward()
    assert found.item() == pytest.approx(slow(LOGITS), rel=1e-12)
    np.testing.assert_allclose(logits.grad, numerical(slow, LOGITS), atol=1e-8)


@pytest.mark.parametrize("term", [mean_entropy, entropy_of_mean])
def test_terms_of_probabilities_that_round_to_zero_have_a_gradient_that_is_a_number(term):
    logits = (500 * torch.eye(3)[:2]).requires_grad_()  # and of the third class there is nothing
    found = term(logits)
    found.backward()
    assert found.item() == pytest.approx(0 if term is mean_entropy else np.log(2), abs=1e-6)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("name", "options", "slow"),
    [
        ("tent", {}, surer),
        ("tent", {"diversity": 0.7}, lambda logits: surer(logits) - 0.7 * diverse(logits)),
        ("shot", {"pseudo": 0.0}, lambda logits: surer(logits) - diverse(logits)),
    ],
)
def test_a_loss_is_surer_answers_less_diverse_ones(name, options, slow):
    """The sign of H(E p): with the other one, one class for every text would be the best of all."""
    given = context()
    index = np.arange(7)
    logits = given.output("unlabeled", index).logits.detach().double().numpy()
    found = loss_of(given, objective_of(given, name, **options), index)
    assert found.item() == pytest.approx(slow(logits), abs=1e-6)
    found.backward()
    # through the bias of a head that would train: the gradient of the same loss by central differences
    moved = numerical(lambda bias: slow(logits + bias), np.zeros(3))
    np.testing.assert_allclose(given.classifier.head.bias.grad, moved, atol=1e-6)


def test_one_class_for_all_is_the_worst_that_shot_knows_and_the_best_that_tent_does():
    one, shared = torch.tensor([[9.0, 0.0]]).repeat(4, 1), 9.0 * torch.eye(2).repeat(2, 1)
    assert mean_entropy(one) == pytest.approx(mean_entropy(shared).item())
    assert entropy_of_mean(one) < 0.01 < 0.69 < entropy_of_mean(shared)


def slow_centroids(features, p):
    """Return the classes as the paper's formulas have them, with means and cosines one by one."""
    z = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    z = np.array([row / np.linalg.norm(row) for row in z])
    for _ in range(2):
        centroids = {
            k: (p[:, k, None] * z).sum(0) / p[:, k].sum() for k in range(p.shape[1]) if p[:, k].sum()
        }
        near = [
            {k: row @ c / (np.linalg.norm(row) * np.linalg.norm(c)) for k, c in centroids.items()}
            for row in z
        ]
        labels = np.array([max(each, key=each.get) for each in near])
        p = np.eye(p.shape[1])[labels]
    return labels


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_those_of_the_nearest_centroids_after_two_rounds(seed):
    rng = np.random.default_rng(seed)
    features, p = rng.normal(size=(30, 4)) + 1, softmax(rng.normal(size=(30, 3)), axis=1)
    found = nearest_centroids(torch.tensor(features), torch.tensor(p)).numpy()
    assert (found == slow_centroids(features, p)).all()
    assert (found != p.argmax(axis=1)).any()


def test_a_class_that_no_row_has_is_nearest_to_none():
    """A centroid of nothing is zero: its cosine would win where all others are below zero."""
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, -40.0]])
    p = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert set(nearest_centroids(features, p).tolist()) == {0, 1}


def test_shot_adds_cross_entropy_with_the_centroids_of_all_rows():
    given = context()
    index = np.array([3, 0, 9])
    everything = given.output("unlabeled", np.arange(11))
    labels = nearest_centroids(everything.features, everything.logits.softmax(1)).detach()
    logits = everything.logits[index]
    crossed = nn.functional.cross_entropy(logits, labels[index])
    expected = mean_entropy(logits) - entropy_of_mean(logits) + 0.3 * crossed
    torch.testing.assert_close(loss_of(given, objective_of(given, "shot"), index), expected)


def test_classes_of_centroids_are_drawn_once_an_epoch():
    given = context()
    objective = objective_of(given, "shot")
    drawn = []
    real = objective._nearest
    objective._nearest = lambda: drawn.append(1) or real()
    for _ in range(2):
        for batch in objective.batches(4, np.random.default_rng(0)):
            objective.loss("model", Batch(batch, {"unlabeled": len(batch["unlabeled"])}))
    assert len(drawn) == 2
    assert len(list(objective.batches(4, np.random.default_rng(0)))) == 3


def test_rows_of_many_lengths_are_read_in_passes_and_put_back_in_order(monkeypatch):
    given, index = context(), np.array([3, 0, 6, 1])
    given.rows["unlabeled"] = Rows([[i] * (1 + i % 3) for i in range(4, 15)])
    monkeypatch.setattr("textlabel.objective.DOMAIN_TOKENS", 2)
    found = read_rows(given, "unlabeled", index)
    torch.testing.assert_close(found, given.output("unlabeled", index))


# --- what trains ----------------------------------------------------------------------------------


class Dropped(Points):
    """A body in which training drops half of everything."""

    def forward(self, input_ids, attention_mask):
        found = super().forward(input_ids, attention_mask).last_hidden_state
        return SimpleNamespace(last_hidden_state=nn.functional.dropout(found, 0.5, self.training))


def test_tent_and_the_centroids_of_shot_drop_nothing_and_training_goes_on(monkeypatch):
    monkeypatch.setattr("points.Points", Dropped)
    given, index = context(), np.arange(11)
    quiet = loss_of(given, objective_of(given, "tent"), index)
    pseudo = objective_of(given, "shot")._nearest()
    given.classifier.train()
    torch.testing.assert_close(loss_of(given, objective_of(given, "tent"), index), quiet)
    assert torch.equal(objective_of(given, "shot")._nearest(), pseudo)
    assert given.classifier.body.training
    given.classifier.body.layer.eval()  # as a frozen part is: it must stay so
    with without_dropout(given.classifier):
        assert not given.classifier.body.training
    assert given.classifier.body.training
    assert not given.classifier.body.layer.training


@pytest.mark.parametrize("name", NAMES)
def test_the_head_stays_to_the_bit_under_a_tune_that_trains_it(name):
    given = context()
    before = weights(given)
    loop.train(given.classifier, plan(name, epochs=3, batch_size=4, learning_rate=1e-2), given, seed=0)
    after = weights(given)
    assert torch.equal(before["head.weight"], after["head.weight"])
    assert torch.equal(before["head.bias"], after["head.bias"])
    assert (before["body.layer.weight"] - after["body.layer.weight"]).abs().max() > 1e-3


def test_a_stage_that_would_train_what_stays_is_refused():
    for name in NAMES:
        with pytest.raises(RecipeError, match=f"'{name}' trains the body, but tune 'head'"):
            Stage.of("head", name, "unlabeled")
        with pytest.raises(
            RecipeError, match="'cross_entropy' trains the head, and another objective of the"
        ):
            Stage.of("lora", [name, "cross_entropy"], "both")
        with pytest.raises(RecipeError, match=r"rows = 'labeled', but the stage reads rows = 'unlabeled'"):
            Stage.of("lora", name)
        with pytest.raises(RecipeError, match="patience"):
            Stage.of("lora", name, "unlabeled", patience=1)
    assert Stage.of("lora", ["shot", "masked_lm"], "unlabeled").frozen == {"head"}
    assert Stage.of("lora", "masked_lm", "unlabeled").frozen == frozenset()


def test_which_recipes_go_on_from_a_model():
    shot = {"tune": "lora", "objective": "shot", "rows": "unlabeled"}
    words = {"tune": "full", "objective": "masked_lm", "rows": "unlabeled"}
    head = {"tune": "head", "objective": "cross_entropy"}
    assert all(Recipe.load(name).source_free for name in NAMES)
    assert Recipe.from_dict({"stage": [shot, {**shot, "tune": "norms"}]}).source_free
    assert not Recipe.from_dict({"stage": [head, shot]}).source_free
    assert not Recipe.load("tapt").source_free
    with pytest.raises(RecipeError, match="no stage trains the head"):
        Recipe.from_dict({"stage": [words]})  # features would move away from under the head


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tent", {"diversity": -0.1}, "tent: diversity = -0.1; expected 0 or more"),
        ("shot", {"diversity": -1.0}, "shot: diversity = -1.0, pseudo = 0.3; expected 0 or more"),
        ("shot", {"pseudo": -1.0}, "pseudo = -1.0; expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.load("objective", name).Options(**options)


@pytest.mark.parametrize("name", NAMES)
def test_without_rows_it_says_what_is_missing(name):
    given = context()
    given.rows["unlabeled"] = Rows([])
    with pytest.raises(RecipeError, match="learns from unlabeled rows: expected 1 or more, got none"):
        objective_of(given, name)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [4, *(pytest.param(at, marks=pytest.mark.slow) for at in (6, 8))])
def test_a_killed_stage_goes_on_with_its_centroids(tmp_path, at):
    """Within an epoch of three steps, at its end and at its beginning."""
    chosen = plan("shot", epochs=4, batch_size=4, learning_rate=3e-2)
    straight, killed, resumed = context(), context(), context()
    loop.train(straight.classifier, chosen, straight, seed=3)

    def die(step, steps, loss):
        if step == at:
            raise Killed

    saved = Checkpoint(tmp_path, {"seed": 3}, 0)
    with pytest.raises(Killed):
        loop.train(killed.classifier, chosen, killed, seed=3, checkpoint=saved, progress=die)
    loop.train(resumed.classifier, chosen, resumed, seed=3, checkpoint=saved)
    one, other = weights(straight), weights(resumed)
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- shifts ---------------------------------------------------------------------------------------


class Normed(Points):
    """A linear body with a layer norm."""

    def __init__(self, points, width):
        super().__init__(points, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, input_ids, attention_mask):
        found = super().forward(input_ids, attention_mask).last_hidden_state
        return SimpleNamespace(last_hidden_state=self.norm(found))


def fitted(source, classes, target, epochs=20):
    """Return a context whose model has learned the source, and which has none of it any more."""
    given = context_of(source, classes, target)
    training = {"epochs": epochs, "batch_size": 50, "learning_rate": 1e-2, "mixed_precision": "no"}
    stage = Stage.of("full", "cross_entropy", **training)
    loop.train(given.classifier, stage, given, seed=0)
    del given.rows["labeled"]
    return given


def labels_of(given):
    with torch.no_grad():
        return given.output("unlabeled", np.arange(len(given.rows["unlabeled"]))).logits.argmax(dim=1).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least", "most"), [("moved", 0.98, 0.6), ("near", 0.98, 0.88)])
def test_shot_solves_a_shift_that_the_source_alone_does_not(kind, least, most):
    source, classes, target = points(kind, np.random.default_rng(0))
    given = fitted(source, classes, target)
    assert (labels_of(given) == classes).mean() < most
    loop.train(given.classifier, plan("shot", epochs=20, batch_size=50, learning_rate=1e-2), given, seed=0)
    assert (labels_of(given) == classes).mean() > least


def balanced_accuracy(given, rows):
    found = labels_of(given)
    return np.mean([(found[rows == k] == k).mean() for k in (0, 1)])


def rare(moved, noise, share):
    """Return points of two classes as often, and moved ones of which the second class is rare."""
    rng = np.random.default_rng(0)
    classes, rows = np.arange(200) % 2, (np.arange(200) >= share * 200).astype(int)
    source, target = (
        np.stack([2 * each - 1] * 2, axis=1) + spread * rng.normal(size=(200, 2))
        for each, spread in ((classes, 0.3), (rows, noise))
    )
    return (source, classes, target + moved), rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "rate", "before", "without", "with_diversity"),
    [
        # towards the boundary of a rare class: surer answers alone give it up
        ({"moved": -1.0, "noise": 0.4, "share": 0.8}, 2e-2, (0.5, 0.65), (0.5, 0.51), (0.93, 1.0)),
        # away from it: nothing collapses, and diversity makes more of the rare class than there is
        ({"moved": 0.5, "noise": 0.7, "share": 0.9}, 5e-2, (0.96, 1.0), (0.97, 1.0), (0.8, 0.93)),
    ],
    ids=["collapse", "harm"],
)
def test_what_diversity_is_for_and_what_it_costs(monkeypatch, shift, rate, before, without, with_diversity):
    monkeypatch.setattr("points.Points", Normed)
    for diversity, (least, most) in ((0.0, without), (1.0, with_diversity)):
        given, rows = rare(**shift)
        given = fitted(*given, epochs=10)
        assert before[0] <= balanced_accuracy(given, rows) <= before[1]
        tent = {"name": "tent", "diversity": diversity}
        training = {"epochs": 30, "batch_size": 50, "learning_rate": rate, "mixed_precision": "no"}
        loop.train(given.classifier, Stage.of("norms", tent, "unlabeled", **training), given, seed=0)
        assert least <= balanced_accuracy(given, rows) <= most
