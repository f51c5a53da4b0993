"""The loss is that of a loop over anchors and mates, and training draws classes apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textlabel.engine import loop
from textlabel.errors import RecipeError
from textlabel.objective.supervised_contrastive import Objective, Options
from textlabel.recipe import Stage


def slow_loss(features, targets, texts, temperature):
    """Return the second of the paper's two losses, L_out, term by term."""
    unit = features / features.norm(dim=1, keepdim=True)
    n, anchors = len(targets), []
    for i in range(n):
        others = [a for a in range(n) if texts[a] != texts[i]]
        mates = [p for p in others if targets[p] == targets[i]]
        if mates:
            whole = sum(np.exp(float(unit[i] @ unit[a]) / temperature) for a in others)
            shares = [np.exp(float(unit[i] @ unit[p]) / temperature) / whole for p in mates]
            anchors.append(-np.mean(np.log(shares)))
    return np.mean(anchors)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_that_of_a_loop(context_of, whole, temperature):
    texts = ["good film", "great film", "fine phone", "bad plot", "awful plot", "poor phone", "the screen"]
    texts.append(texts[0])  # no mate of its like
    targets = np.array([0, 0, 0, 1, 1, 1, 2, 0])  # the only one of class 2 is no anchor
    context = context_of(targets, texts)
    found = Objective(Options(temperature), context).loss("model", whole(np.arange(8)))
    with torch.no_grad():
        features = context.output("labeled", np.arange(8)).features
    assert found.item() == pytest.approx(slow_loss(features, targets, texts, temperature), abs=1e-4)
    found.backward()
    assert all(torch.isfinite(p.grad).all() for p in context.classifier.parameters() if p.grad is not None)


def test_a_batch_without_mates_has_no_loss_and_no_gradient(context_of, whole):
    context = context_of([0, 1, 0, 0], ["good film", "bad film", "a plot", "good film"])
    objective = Objective(Options(), context)
    for index in ([0, 1], [0, 3, 1]):  # two of a class, but one text
        loss = objective.loss("model", whole(index))
        loss.backward()
        assert loss.item() == 0
    assert all(not p.grad.any() for p in context.classifier.body.parameters() if p.grad is not None)


@pytest.mark.parametrize("objective", ["supervised_contrastive", ["cross_entropy", "supervised_contrastive"]])
def test_training_lowers_it_alone_and_beside_cross_entropy(context_of, objective):
    context = context_of(np.arange(16) % 2)
    head = context.classifier.head.weight.detach().clone()
    training = {"epochs": 15, "learning_rate": 1e-2, "mixed_precision": "no", "dropout": 0.0}
    state = loop.train(context.classifier, Stage.of("lora", objective, **training), context, seed=0)
    assert state.losses[-1] < 0.8 * state.losses[0]
    changed = (context.classifier.head.weight != head).any()
    assert bool(changed) == (len(objective) == 2)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(RecipeError, match="temperature = 0"):
        Options(temperature=0.0)
