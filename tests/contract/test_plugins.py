"""What every plugin of a kind must do; a new file in a plugin folder is tested by being there."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from tiny import snippets

from textlabel import registry
from textlabel.engine.head import risk
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear
from textlabel.protocols import Batch, Context, Rows
from textlabel.recipe import PARTS
from textlabel.types import LabelSchema

SCHEMAS = {"single": LabelSchema("single", ("negative", "positive")), "score": LabelSchema("score")}


def plugins(kind):
    return [registry.load(kind, name) for name in registry.plugins(kind)]


def by_name(module):
    return module.NAME


def make_context(backbone, schema, n=11):
    classifier = Classifier(load_backbone(backbone), schema).eval()
    torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(0))
    data = snippets(n)
    tokens = classifier.tokenizer([r["text"] for r in data])["input_ids"]
    y = np.arange(n) % 2 if schema.kind == "single" else np.linspace(-1, 1, n)
    rows = {"labeled": Rows(tokens, y), "unlabeled": Rows(tokens)}
    return Context(rows, schema, classifier, torch.device("cpu"))


@pytest.mark.parametrize("module", [*plugins("tune"), *plugins("objective")], ids=by_name)
def test_options_are_frozen_with_defaults_and_a_docstring(module):
    assert dataclasses.is_dataclass(module.Options)
    options = module.Options()
    assert module.Options.__doc__
    assert module.__doc__
    for field in dataclasses.fields(options):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, field.name, None)


@pytest.mark.parametrize("tune", plugins("tune"), ids=by_name)
def test_a_tune_trains_its_parts_and_no_other(tune, tiny_backbone):
    assert tune.PARTS
    assert tune.PARTS <= PARTS
    classifier = Classifier(load_backbone(tiny_backbone), SCHEMAS["single"])
    tune.apply(classifier, tune.Options())
    trained = {n.split(".")[0] for n, p in classifier.named_parameters() if p.requires_grad}
    assert trained == tune.PARTS
    changes = classifier.body_changed or hasattr(classifier.body, "peft_config")
    assert changes == ("body" in tune.PARTS)  # what is trained is also what is saved


@pytest.mark.parametrize("tune", plugins("tune"), ids=by_name)
def test_a_tune_does_not_change_what_the_model_says(tune, tiny_backbone):
    context = make_context(tiny_backbone, SCHEMAS["single"])
    inputs = context.inputs("labeled", np.arange(11))
    with torch.no_grad():
        before = context.classifier(*inputs).logits
        tune.apply(context.classifier.train(), tune.Options())
        after = context.classifier.eval()(*inputs).logits
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)


CASES = [
    pytest.param(module, kind, id=f"{module.NAME}-{kind}")
    for module in plugins("objective")
    for kind in sorted(module.LABEL_KINDS)
]
SOLVED = [case for case in CASES if hasattr(case.values[0], "fit_linear")]


@pytest.mark.parametrize(("module", "kind"), CASES)
def test_an_objective_says_what_it_needs(module, kind):
    assert module.ROLES
    assert {"labeled", "unlabeled"} >= module.ROLES
    assert module.NEEDS_PARTS <= PARTS
    assert kind in SCHEMAS


@pytest.mark.parametrize(("module", "kind"), CASES)
def test_an_epoch_reads_every_labeled_row_once(module, kind, tiny_backbone):
    objective = module.Objective(module.Options(), make_context(tiny_backbone, SCHEMAS[kind]))
    batches = list(objective.batches(4, np.random.default_rng(0)))
    again = list(objective.batches(4, np.random.default_rng(0)))
    assert sorted(np.concatenate([b["labeled"] for b in batches]).tolist()) == list(range(11))
    assert all((a["labeled"] == b["labeled"]).all() for a, b in zip(batches, again, strict=True))


@pytest.mark.parametrize(("module", "kind"), CASES)
def test_the_parts_of_a_batch_add_up_to_its_loss(module, kind, tiny_backbone):
    objective = module.Objective(module.Options(), make_context(tiny_backbone, SCHEMAS[kind]))
    rows = next(iter(objective.batches(11, np.random.default_rng(1))))
    total = {role: len(index) for role, index in rows.items()}
    for player in objective.players:
        whole = objective.loss(player, Batch(rows, total))
        assert whole.ndim == 0
        assert torch.isfinite(whole)
        if objective.splits:
            parts = [{role: index[r::3] for role, index in rows.items()} for r in range(3)]
            added = sum(objective.loss(player, Batch(part, total)) for part in parts)
            torch.testing.assert_close(whole, added, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("module", "kind"), CASES)
def test_the_loss_falls_along_its_own_gradient(module, kind, tiny_backbone):
    context = make_context(tiny_backbone, SCHEMAS[kind])
    objective = module.Objective(module.Options(), context)
    rows = next(iter(objective.batches(11, np.random.default_rng(1))))
    batch = Batch(rows, {role: len(index) for role, index in rows.items()})
    head = context.classifier.head
    loss = objective.loss("model", batch)
    (gradient,) = torch.autograd.grad(loss, [head.weight])
    with torch.no_grad():
        head.weight -= 1e-2 * gradient
    assert objective.loss("model", batch) < loss


@pytest.mark.parametrize(("module", "kind"), SOLVED)
def test_a_solved_head_is_where_the_gradient_of_its_risk_vanishes(module, kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6))
    y = rng.integers(0, 2, 80) if kind == "single" else x[:, 0] + rng.normal(size=80)
    [head] = module.fit_linear(x, y, SCHEMAS[kind].outputs, [1e-6], module.Options())
    best = risk(head(x), y)
    for _ in range(20):
        moved = copy.deepcopy(head)
        moved = Linear(moved.weight + 0.05 * rng.normal(size=moved.weight.shape), moved.bias)
        assert risk(moved(x), y) > best
