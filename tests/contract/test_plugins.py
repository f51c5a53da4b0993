"""What every plugin of a kind must do; a new file in a plugin folder is tested by being there."""

from __future__ import annotations

import copy
import dataclasses
from inspect import signature

import numpy as np
import pytest
import torch
from tiny import snippets, write_backbone

from textlabel import registry
from textlabel.engine.solvers import risk
from textlabel.errors import RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear
from textlabel.models.structure import scale_mixing
from textlabel.protocols import Batch, Context, Rows
from textlabel.recipe import PARTS
from textlabel.types import LabelSchema

SCHEMAS = {
    "single": LabelSchema("single", ("negative", "positive")),
    "multi": LabelSchema("multi", ("negative", "positive")),
    "score": LabelSchema("score"),
}


def plugins(kind):
    return [registry.load(kind, name) for name in registry.plugins(kind)]


def takes_mixing(module):
    return hasattr(module, "fit_linear") and "mixing" in signature(module.fit_linear).parameters


def by_name(module):
    return module.NAME


def make_context(backbone, schema, n=11):
    classifier = Classifier(load_backbone(backbone), schema).eval()
    torch.nn.init.normal_(classifier.head.weight, generator=torch.Generator().manual_seed(0))
    data = snippets(n)
    tokens = classifier.tokenizer([r["text"] for r in data])["input_ids"]
    y = {
        "single": np.arange(n) % 2,
        "multi": np.stack([np.arange(n) % 2, np.arange(n) % 3 > 0], axis=1).astype(np.int64),
        "score": np.linspace(-1, 1, n),
    }[schema.kind]
    rows = {"labeled": Rows(tokens, y), "unlabeled": Rows(tokens)}
    return Context(rows, schema, classifier, torch.device("cpu"))


def context_of(module, backbone, kind):
    """Return a context of 11 rows, or of two tasks of 20 rows and two classes each."""
    context = make_context(backbone, SCHEMAS[kind])
    if "tasks" not in module.ROLES:
        return context
    tokens = context.classifier.tokenizer([r["text"] for r in snippets(40)])["input_ids"]
    of = np.arange(40) // 20
    rows = {"tasks": Rows(tokens, 2 * of + np.arange(40) % 2)}
    return dataclasses.replace(context, rows=rows, tasks=of)


@pytest.mark.parametrize(
    "module", [*plugins("tune"), *plugins("objective"), *plugins("augment")], ids=by_name
)
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
TRAINED = [case for case in CASES if hasattr(case.values[0], "Objective")]


@pytest.mark.parametrize(("module", "kind"), CASES)
def test_an_objective_says_what_it_needs(module, kind):
    assert module.ROLES
    assert {"labeled", "unlabeled"} >= module.ROLES or {"tasks"} == module.ROLES
    assert module.NEEDS_PARTS <= PARTS
    assert kind in SCHEMAS


@pytest.mark.parametrize(("module", "kind"), [c for c in TRAINED if "labeled" in c.values[0].ROLES])
def test_an_epoch_reads_every_labeled_row(module, kind, tiny_backbone):
    """Each of them once, unless rows meet each other: then rows of rare classes may be read again."""
    objective = module.Objective(module.Options(), make_context(tiny_backbone, SCHEMAS[kind]))
    batches = list(objective.batches(4, np.random.default_rng(0)))
    read = np.concatenate([b["labeled"] for b in batches]).tolist()
    assert set(read) == set(range(11))
    assert len(read) == 11 or not objective.splits


@pytest.mark.parametrize(("module", "kind"), [c for c in TRAINED if "tasks" in c.values[0].ROLES])
def test_epochs_read_every_task(module, kind, tiny_backbone):
    context = context_of(module, tiny_backbone, kind)
    objective = module.Objective(module.Options(), context)
    rng = np.random.default_rng(0)
    read = np.concatenate([b["tasks"] for _ in range(10) for b in objective.batches(4, rng)])
    assert set(np.asarray(context.rows["tasks"].targets)[read]) == {0, 1, 2, 3}


@pytest.mark.parametrize(("module", "kind"), TRAINED)
def test_epochs_are_of_one_length_and_the_same_for_a_seed(module, kind, tiny_backbone):
    objective = module.Objective(module.Options(), context_of(module, tiny_backbone, kind))
    batches = list(objective.batches(4, np.random.default_rng(0)))
    again = list(objective.batches(4, np.random.default_rng(0)))
    assert len(list(objective.batches(4, np.random.default_rng(1)))) == len(batches)
    for one, other in zip(batches, again, strict=True):
        assert one.keys() == other.keys()
        assert all((one[role] == other[role]).all() for role in one)


@pytest.mark.parametrize(("module", "kind"), TRAINED)
def test_the_parts_of_a_batch_add_up_to_its_loss(module, kind, tiny_backbone):
    objective = module.Objective(module.Options(), context_of(module, tiny_backbone, kind))
    rows = next(iter(objective.batches(11, np.random.default_rng(1))))
    total = {role: len(index) for role, index in rows.items()}
    for player in objective.players:
        whole = objective.loss(player, Batch(rows, total))
        assert whole.ndim == 0
        assert torch.isfinite(whole)
        if objective.splits:
            parts = [{role: index[r::3] for role, index in rows.items()} for r in range(3)]
            added = sum(objective.loss(player, Batch(part, total, rows=rows)) for part in parts)
            torch.testing.assert_close(whole, added, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("module", "kind"), TRAINED)
def test_the_loss_falls_along_its_own_gradient(module, kind, tiny_backbone):
    context = context_of(module, tiny_backbone, kind)
    objective = module.Objective(module.Options(), context)
    rows = next(iter(objective.batches(11, np.random.default_rng(1))))
    # in the middle of a stage: some losses leave the body alone at first
    batch = Batch(rows, {role: len(index) for role, index in rows.items()}, progress=0.5)
    part = context.classifier.head if "head" in module.NEEDS_PARTS else context.classifier.body

    def loss():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return objective.loss("model", batch)

    before = loss()
    before.backward()
    moved = [p for p in part.parameters() if p.grad is not None]
    norm = torch.stack([p.grad.norm() for p in moved]).norm()
    assert norm > 0
    with torch.no_grad():
        for parameter in moved:
            parameter -= 1e-3 / norm * parameter.grad
    assert loss() < before


def test_an_objective_is_trained_or_solved():
    assert {case.id for case in CASES} == {case.id for case in (*TRAINED, *SOLVED)}


@pytest.mark.parametrize(("module", "kind"), SOLVED)
def test_solved_heads_are_one_a_strength_and_tell_what_they_learned(module, kind):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 80)
    x = rng.normal(size=(80, 6)) + 3 * np.eye(2, 6)[y]
    targets = {"single": y, "score": y.astype(float), "multi": np.eye(2, dtype=int)[y]}[kind]
    heads = list(module.fit_linear(x, targets, SCHEMAS[kind].outputs, [1.0, 1e-2], module.Options()))
    assert len(heads) == 2
    for head in heads:
        found = head(x)
        right = (found[:, 0] > 0.5) == y if kind == "score" else found.argmax(axis=1) == y
        assert right.mean() > 0.9


@pytest.mark.parametrize("module", [c.values[0] for c in SOLVED if c.values[1] == "single"], ids=by_name)
def test_a_solved_head_takes_classes_as_probabilities_too(module):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)

    def fit(targets):
        [head] = module.fit_linear(x, targets, 3, [0.1], module.Options())
        return head

    np.testing.assert_allclose(fit(np.eye(3)[y])(x), fit(y)(x), atol=1e-8)
    unsure = fit(0.5 * np.eye(3)[y] + 0.5 / 3)
    assert np.abs(unsure(x) - fit(y)(x)).max() > 1e-3


@pytest.mark.parametrize(("module", "kind"), [c for c in SOLVED if c in TRAINED])
def test_a_solved_head_is_where_the_gradient_of_its_risk_vanishes(module, kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6))
    y = x[:, 0] + rng.normal(size=80)
    if kind != "score":
        y = rng.integers(0, 2, (80, 2) if kind == "multi" else 80)
    [head] = module.fit_linear(x, y, SCHEMAS[kind].outputs, [1e-6], module.Options())
    best = risk(head(x), y)
    for _ in range(20):
        moved = copy.deepcopy(head)
        moved = Linear(moved.weight + 0.05 * rng.normal(size=moved.weight.shape), moved.bias)
        assert risk(moved(x), y) > best


@pytest.mark.parametrize("module", [m for m in plugins("objective") if takes_mixing(m)], ids=by_name)
def test_a_solved_head_of_classes_keeps_to_a_mixing_and_takes_sets_of_candidates(module):
    rng = np.random.default_rng(0)
    x, soft = rng.normal(size=(80, 6)), np.eye(3)[np.arange(80) % 3]
    soft[::4, :2] = 1.0
    [head] = module.fit_linear(x, soft, 3, [0.1], module.Options(), mixing=scale_mixing(3))
    steps = np.diff(head.weight, axis=0)
    np.testing.assert_allclose(steps[0], steps[1], atol=1e-12)
    assert np.abs(steps).max() > 1e-3


TEXTS = [row["text"] for row in snippets(30)]
ODD = [
    "film",
    "!",
    "Good",
    "a b",
    "GREAT phone screen",
    "\u624b\u673a\u5f88\u597d\u7528",
    "12345 6",
    "plot\n\nscreen  ",
    " \u2603 ",
    "[MASK] good film",
]


@pytest.fixture(scope="module")
def with_a_masked_head(tmp_path_factory):
    return load_backbone(write_backbone(tmp_path_factory.mktemp("masked") / "bert", "bert_without_pooler"))


@pytest.mark.parametrize("module", plugins("augment"), ids=by_name)
def test_a_change_gives_a_text_for_each_never_an_empty_one_and_the_same_for_a_seed(
    module, with_a_masked_head
):
    def changed(texts, seed, **options):
        rng = np.random.default_rng(seed)
        return module.augment(texts, rng, with_a_masked_head, module.Options(**options))

    texts = [*TEXTS, *ODD]
    given = list(texts)
    found = changed(texts, 0)
    assert texts == given
    assert len(found) == len(texts)
    assert all(isinstance(text, str) and text.strip() for text in found)
    assert found == changed(texts, 0)
    assert found != changed(texts, 1)
    assert sum(a != b for a, b in zip(found[:30], TEXTS, strict=True)) > 20
    assert changed([], 0) == []


@pytest.mark.parametrize("module", plugins("augment"), ids=by_name)
def test_a_change_says_how_many_copies_it_makes(module):
    assert module.Options().copies == 1
    with pytest.raises(RecipeError, match="copies = 0"):
        module.Options(copies=0)
