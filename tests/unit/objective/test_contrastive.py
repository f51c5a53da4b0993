"""Pairs: which texts meet, how much each pair weighs, and that training draws classes apart."""

from __future__ import annotations

import json
import time
from collections import Counter

import numpy as np
import pytest
import torch
from tiny import snippets
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.engine import loop
from textlabel.errors import RecipeError
from textlabel.objective.contrastive import Objective, Options, sampled_pairs
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema


def slow_loss(features, targets, texts):
    """Compare every two rows of different texts, one by one."""
    errors = {True: [], False: []}
    for i in range(len(targets)):
        for j in range(i):
            if texts[i] != texts[j]:
                same = bool(targets[i] == targets[j])
                similar = float(features[i] @ features[j] / features[i].norm() / features[j].norm())
                errors[same].append((similar - same) ** 2)
    return np.mean([np.mean(kind) for kind in errors.values() if kind])


def features_of(context, index):
    with torch.no_grad():
        return context.output("labeled", np.asarray(index)).features


def test_all_pairs_of_a_batch_count_and_both_kinds_weigh_the_same(context_of, whole):
    texts = ["good film", "great film", "good film", "bad plot", "awful plot", "bad film", "good film", "a"]
    targets = [0, 0, 0, 1, 1, 1, 1, 0]  # "good film" is there thrice, once with another label
    context = context_of(targets, texts)
    index = np.arange(8)
    found = Objective(Options(), context).loss("model", whole(index)).item()
    assert found == pytest.approx(slow_loss(features_of(context, index), targets, texts), abs=1e-5)


@pytest.mark.parametrize("targets", [[0, 0, 0], [0, 1, 2]])
def test_pairs_of_one_kind_are_compared_alone(context_of, whole, targets):
    texts = ["good film", "great plot", "bad phone"]
    context = context_of(targets, texts)
    found = Objective(Options(), context).loss("model", whole([0, 1, 2])).item()
    assert found == pytest.approx(slow_loss(features_of(context, [0, 1, 2]), targets, texts), abs=1e-5)


@pytest.mark.parametrize("pairs", ["batch", "sampled"])
def test_equal_texts_are_no_pair(context_of, whole, pairs):
    context = context_of([0, 0, 1, 1], ["good film", "good film", "bad", "bad"])
    objective = Objective(Options(pairs=pairs), context)
    loss = objective.loss("model", whole([0, 1, 2, 3]))  # sampled: (0, 1) and (2, 3)
    loss.backward()
    if pairs == "sampled":
        assert loss.item() == 0
    else:
        similar = torch.nn.functional.cosine_similarity(*features_of(context, [0, 2]), dim=0)
        assert loss.item() == pytest.approx(similar.item() ** 2, abs=1e-5)


def test_a_row_twice_in_a_batch_is_encoded_once_and_meets_itself_never(context_of, whole):
    context = context_of([0, 0, 1, 1])
    objective, seen = Objective(Options(), context), []
    context.classifier.body.register_forward_hook(lambda _, __, out: seen.append(len(out[0])))
    once = objective.loss("model", whole([0, 1, 2, 3])).item()
    assert objective.loss("model", whole([0, 1, 2, 3, 3, 0])).item() == pytest.approx(once, abs=1e-6)
    assert seen == [4, 4]


def test_sampled_pairs_are_those_of_the_batch_and_each_text_is_encoded_once(context_of, whole):
    context, seen = context_of([0, 0, 1, 1]), []
    objective = Objective(Options(pairs="sampled"), context)
    context.classifier.body.register_forward_hook(lambda _, __, out: seen.append(len(out[0])))
    loss = objective.loss("model", whole([0, 1, 3, 0])).item()  # one of a class, one of two
    assert seen == [3]
    a, b, c = features_of(context, [0, 1, 3])
    similar = torch.nn.functional.cosine_similarity
    expected = ((1 - similar(a, b, dim=0)) ** 2 + similar(a, c, dim=0) ** 2) / 2
    assert loss == pytest.approx(expected.item(), abs=1e-5)


def test_sampled_pairs_have_the_right_classes_and_never_a_row_with_itself():
    targets = np.random.default_rng(0).choice([0, 1, 2, 2, 2, 5], 60)
    targets[7] = 9  # the only one of its class
    pairs = sampled_pairs(targets, 3, np.random.default_rng(1))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    same = targets[pairs[:, 0]] == targets[pairs[:, 1]]
    mates, others = Counter(pairs[same, 0].tolist()), Counter(pairs[~same, 0].tolist())
    assert mates == {row: 3 for row in range(60) if row != 7}
    assert others == dict.fromkeys(range(60), 3)
    assert 7 in pairs[~same, 1]


def test_partners_are_drawn_evenly():
    targets = np.array([0, 1, 0, 1, 1, 0, 0])
    pairs = sampled_pairs(targets, 6000, np.random.default_rng(0))
    found = Counter(map(tuple, pairs.tolist()))
    assert len(found) == 7 * 6  # every two different rows, in both orders
    for (a, b), count in found.items():
        mates = int((targets == targets[a]).sum()) - 1
        expected = 6000 / (mates if targets[a] == targets[b] else 6 - mates)
        assert abs(count - expected) < 5 * expected**0.5


def test_sampling_takes_a_time_linear_in_the_rows():
    """All pairs of these rows would be 20 thousand million."""
    targets = np.random.default_rng(0).integers(0, 3, 200_000)
    start = time.process_time()
    pairs = sampled_pairs(targets, 1, np.random.default_rng(1))
    assert len(pairs) == 400_000
    assert time.process_time() - start < 5


def test_one_class_and_one_row_a_class_have_pairs_of_one_kind():
    rng = np.random.default_rng(0)
    assert len(sampled_pairs(np.zeros(4, int), 2, rng)) == 8
    pairs = sampled_pairs(np.arange(4), 2, rng)
    assert len(pairs) == 8
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_sampled_batches_are_pairs_and_as_many_in_every_epoch(context_of):
    objective = Objective(Options(pairs="sampled", iterations=2), context_of(np.arange(11) % 2))
    epochs = [list(objective.batches(8, np.random.default_rng(seed))) for seed in range(2)]
    assert [len(b["labeled"]) for b in epochs[0]] == [8] * 11  # 11 rows, 2 + 2 partners, 4 pairs a batch
    assert len(epochs[1]) == 11
    assert not np.array_equal(epochs[0][0]["labeled"], epochs[1][0]["labeled"])


def test_class_names_are_rows_of_their_class(context_of, whole):
    texts = ["good film", "bad plot", "poor phone"]
    context = context_of([0, 1, 1], texts, names=("very_good", "not good"))
    objective = Objective(Options(template="the film was {name}"), context)
    read = np.concatenate([b["labeled"] for b in objective.batches(8, np.random.default_rng(0))])
    assert set(read.tolist()) == {0, 1, 2, 3, 4}
    found = objective.loss("model", whole(np.arange(5))).item()
    longer = [*texts, "the film was very good", "the film was not good"]
    targets = [0, 1, 1, 0, 1]
    plain = context_of(targets, longer)
    expected = slow_loss(features_of(plain, np.arange(5)), targets, longer)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_class_is_read_by_its_description_where_it_has_one(context_of):
    from dataclasses import replace

    context = context_of([0, 1], names=("good", "bad"))
    schema = LabelSchema("single", ("good", "bad"), ("great film", "awful plot"))
    objective = Objective(Options(template="{name}"), replace(context, schema=schema))
    expected = context.classifier.tokenizer(["great film", "awful plot"])["input_ids"]
    assert objective.rows.tokens[2:] == expected


def stage(**options):
    more = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "mixed_precision": "no", "dropout": 0.0}
    names = ("optimizer", "batch_size", "epochs", "learning_rate", "tune")
    training = {**more, **{k: options.pop(k) for k in names if k in options}}
    tune = training.pop("tune", "lora")
    return Stage.of(tune, {"name": "contrastive", **options}, **training)


def apart(context):
    """Return how much more similar texts of a class are than others."""
    features = torch.nn.functional.normalize(features_of(context, np.arange(len(context.rows["labeled"]))))
    similar = (features @ features.T).numpy()
    targets = np.asarray(context.rows["labeled"].targets)
    same, one = targets[:, None] == targets, np.eye(len(targets), dtype=bool)
    return similar[same & ~one].mean() - similar[~same].mean()


@pytest.mark.parametrize(
    ("tune", "optimizer", "learning_rate"),
    [("lora", "adamw", 1e-2), ({"name": "partial", "layers": 1}, "adamw", 1e-2), ("full", "sgd", 0.1)],
    ids=["lora-adamw", "partial-adamw", "full-sgd"],
)
@pytest.mark.parametrize("pairs", ["batch", "sampled"])
def test_training_draws_classes_apart_and_leaves_the_head_alone(
    context_of, pairs, tune, optimizer, learning_rate
):
    context = context_of(np.arange(16) % 2)
    head = context.classifier.head.weight.detach().clone()
    before = apart(context)
    epochs = 24 if pairs == "batch" else 20
    rates = {"learning_rate": learning_rate, "epochs": epochs}
    plan = stage(pairs=pairs, tune=tune, optimizer=optimizer, **rates)
    loop.train(context.classifier, plan, context, seed=0)
    assert apart(context) > before + 0.3
    torch.testing.assert_close(context.classifier.head.weight, head, rtol=0, atol=0)


def test_class_names_train_above_frozen_layers_too(context_of):
    context = context_of(np.arange(24) % 2, names=("bad", "good"))
    plan = stage(tune={"name": "partial", "layers": 1}, template="it was {name}")
    state = loop.train(context.classifier, plan, context, seed=0)
    assert np.isfinite(state.losses).all()


def test_more_classes_than_a_batch_holds(context_of):
    context = context_of(np.arange(60) % 30)
    state = loop.train(context.classifier, stage(batch_size=8, epochs=1), context, seed=0)
    assert state.step == 8  # 30 classes, 4 in a batch


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": "all"}, "pairs = 'all'; expected 'batch' or 'sampled'"),
        ({"iterations": 0}, "iterations = 0; expected at least 1"),
        ({"template": "about it"}, "expected a text with {name} in it"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Options(**options)


def test_a_frozen_body_is_refused():
    with pytest.raises(
        RecipeError, match="'contrastive' trains the body, but tune 'head' trains only the head"
    ):
        Stage.of("head", "contrastive")


def test_patience_is_refused_where_nothing_trains_the_head():
    """The validation loss is the head's."""
    with pytest.raises(RecipeError, match=r"patience = 2 .* none of its objectives trains the head"):
        Stage.of("lora", "contrastive", patience=2)
    assert Stage.of("lora", ["contrastive", "cross_entropy"], patience=2).training.patience == 2


def test_a_recipe_needs_a_stage_that_fits_the_head():
    with pytest.raises(RecipeError, match="no stage trains the head"):
        Recipe.from_dict({"stage": [{"tune": "lora", "objective": "contrastive"}]})


RECIPE = """
[[stage]]
tune = {{ name = "lora", rank = 4 }}
objective = {{ name = "contrastive", {options} }}
epochs = 2
learning_rate = 1e-2
optimizer = "{optimizer}"

[[stage]]
tune = "head"
objective = "cross_entropy"
"""


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [
        ('pairs = "batch"', "sgd"),
        ('pairs = "sampled", iterations = 2', "adamw"),
        ('template = "This text is about {name}."', "adamw"),
    ],
)
def test_by_the_command_line(tiny_backbone, tmp_path, options, optimizer):
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(40)))
    (tmp_path / "mine.toml").write_text(RECIPE.format(options=options, optimizer=optimizer))
    words = ["fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone]
    words += ["--recipe", tmp_path / "mine.toml", "--calibration", "none"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model/adapter-0/adapter_model.safetensors").is_file()
