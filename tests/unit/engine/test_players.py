"""Who trains at which rate."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone
from typer.testing import CliRunner

from textlabel import registry
from textlabel.cli.app import app
from textlabel.engine.players import Only, Thaw, make_players
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.recipe import Stage
from textlabel.types import LabelSchema


def test_layer_decay_and_weight_decay_groups(classifier):
    classifier.requires_grad_(True)
    rates = {"layer_decay": 0.5, "learning_rate": 1.0, "head_learning_rate": 7.0, "weight_decay": 0.1}
    training = Stage.of("full", "cross_entropy", epochs=2, **rates).training
    player = make_players(classifier, [], training)["model"]
    found = {}
    for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
        for parameter in group["params"]:
            found[parameter] = (rate, group["weight_decay"])
    named = dict(classifier.named_parameters())
    assert found[named["head.weight"]] == (7.0, 0.1)
    assert found[named["body.encoder.layer.1.output.dense.weight"]] == (1.0, 0.1)
    assert found[named["body.encoder.layer.0.output.dense.bias"]] == (0.5, 0.0)
    assert found[named["body.encoder.layer.0.output.LayerNorm.weight"]] == (0.5, 0.0)
    assert found[named["body.embeddings.word_embeddings.weight"]] == (0.25, 0.1)
    assert len(found) == len(named)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_family_has_each_weight_in_one_group_at_the_rate_of_its_layer(architecture, tmp_path):
    """Embeddings are one layer below the lowest, each norm above the layers is of the top; none is twice."""
    body = load_backbone(write_backbone(tmp_path / architecture, architecture))
    model = Classifier(body, LabelSchema("single", ("a", "b")))
    model.requires_grad_(True)
    rates = {"layer_decay": 0.5, "learning_rate": 1.0, "head_learning_rate": 7.0, "weight_decay": 0.1}
    player = make_players(model, [], Stage.of("full", "cross_entropy", **rates).training)["model"]
    groups = list(zip(player.optimizer.param_groups, player.rates, strict=True))
    flat = [(p, rate, group["weight_decay"]) for group, rate in groups for p in group["params"]]
    assert len(flat) == len({id(p) for p, *_ in flat}) == len(list(model.parameters()))
    names = {id(p): name for name, p in model.named_parameters()}
    layers = 1 if architecture == "albert" else 2
    for parameter, rate, decay in flat:
        name = names[id(parameter)]
        assert decay == (0.1 if parameter.ndim > 1 else 0.0)
        assert (parameter.ndim > 1) != ("norm" in name.lower() or name.endswith("bias")) or "relative" in name
        number = next((int(part) for part in name.split(".") if part.isdigit()), None)
        if name.startswith("head."):
            assert rate == 7.0
        elif number is not None:
            assert rate == 0.5 ** (layers - 1 - number)
        elif "embeddings" in name:
            assert rate == 0.5**layers
        else:
            assert rate == (1.0 if "final_norm" in name else 0.5**layers)


def test_layers_thaw_from_the_top_and_what_is_frozen_stays_so(classifier):
    classifier.requires_grad_(True)
    frozen = classifier.body.encoder.layer[1].output.dense.bias.requires_grad_(False)
    thaw, found = Thaw(classifier), []
    for epoch in (0, 1, 2, 9, 1):
        thaw(epoch)
        places = {0: "embeddings", 1: "layer.0", 2: "layer.1"}
        trained = {n for n, p in classifier.body.named_parameters() if p.requires_grad}
        found.append([d for d, place in places.items() if any(place in name for name in trained)])
        assert classifier.head.weight.requires_grad
        assert not frozen.requires_grad
    assert found == [[2], [1, 2], [0, 1, 2], [0, 1, 2], [1, 2]]


def test_layers_that_wait_still_wait_after_another_players_step(classifier):
    classifier.requires_grad_(True)
    training = Stage.of("full", "cross_entropy").training
    players = make_players(classifier, [], training)
    Thaw(classifier)(0)
    before = {name for name, p in classifier.named_parameters() if p.requires_grad}
    with Only("critic", players):
        assert not any(p.requires_grad for p in classifier.parameters())
    assert {name for name, p in classifier.named_parameters() if p.requires_grad} == before
    assert 0 < len(before) < len(list(classifier.parameters()))


RECIPE = """
[[stage]]
tune = "full"
objective = "cross_entropy"
epochs = {epochs}
learning_rate = 1e-2
unfreeze = "{unfreeze}"
"""


@pytest.mark.parametrize(
    ("unfreeze", "epochs", "moved"),
    [
        ("gradual", 1, {"layer.1"}),
        ("gradual", 2, {"layer.0", "layer.1"}),
        ("gradual", 3, {"embeddings", "layer.0", "layer.1"}),
        ("all", 1, {"embeddings", "layer.0", "layer.1"}),
    ],
)
def test_gradual_unfreezing_by_the_command_line(tiny_backbone, tmp_path, unfreeze, epochs, moved):
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(20)))
    (tmp_path / "mine.toml").write_text(RECIPE.format(unfreeze=unfreeze, epochs=epochs))
    words = ["fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone]
    words += ["--recipe", tmp_path / "mine.toml", "--calibration", "none"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    before = load_backbone(tiny_backbone).body.state_dict()
    after = load_backbone(tmp_path / "model/body").body.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {
        place for place in ("embeddings", "layer.0", "layer.1") if any(place in n for n in changed)
    } == moved


@pytest.mark.parametrize("tune", sorted(registry.plugins("tune")))
def test_gradual_unfreezing_goes_with_every_tune(classifier, tune):
    module = registry.load("tune", tune)
    module.apply(classifier, module.Options())
    before = {name for name, p in classifier.named_parameters() if p.requires_grad}
    thaw = Thaw(classifier)
    thaw(0)
    first = {name for name, p in classifier.named_parameters() if p.requires_grad}
    thaw(2)
    assert {name for name, p in classifier.named_parameters() if p.requires_grad} == before
    assert {name for name in before if "layer.1" in name or name.startswith("head.")} == first
