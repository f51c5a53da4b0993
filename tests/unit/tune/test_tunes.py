"""dora, ia3 and bitfit train what they should, on every family, and are saved and reloaded exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, snippets, write_backbone, write_static
from typer.testing import CliRunner

from textlabel import Labeler, registry
from textlabel.cli.app import app
from textlabel.engine.players import make_players
from textlabel.engine.prefix import frozen_prefix
from textlabel.errors import BundleError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Adapter, Classifier
from textlabel.models.low_rank import LowRankLinear
from textlabel.protocols import Context, Rows
from textlabel.recipe import Recipe, Stage
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
TRAIN = snippets(40)
TEXTS = [{"text": row["text"]} for row in snippets(30, seed=1)]
TUNES = ["dora", "ia3", "bitfit"]


def recipe(tune, **training):
    settings = {"epochs": 1, "learning_rate": 2e-2, **training}
    stage = {"tune": tune, "objective": "cross_entropy", **settings}
    head = {"tune": {"name": "head", "folds": 2}, "objective": "cross_entropy"}
    return Recipe.from_dict({"name": "mine", "stage": [head, stage]})


def applied(folder, tune, **options):
    classifier = Classifier(load_backbone(folder), SCHEMA)
    module = registry.load("tune", tune)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module.apply(classifier, module.Options(**options))
    return classifier


def trained_names(classifier):
    return [name for name, p in classifier.named_parameters() if p.requires_grad and name[:5] == "body."]


@pytest.mark.parametrize("tune", TUNES)
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_reloading_changes_no_logit(architecture, tune, tmp_path):
    backbone = write_backbone(tmp_path / "backbone", architecture)
    if tune == "bitfit" and architecture == "modernbert":
        with pytest.raises(RecipeError, match="has no biases; use recipe 'lora' or 'ia3'"):
            applied(backbone, tune)
        return
    labeler = Labeler(backbone, recipe(tune), calibration="none").fit(TRAIN)
    found = labeler.predict(TEXTS).logits
    again = Labeler.load(labeler.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(TEXTS).logits, found)
    untouched = Labeler(backbone, calibration="none").fit(TRAIN).predict(TEXTS).logits
    assert np.abs(found - untouched).max() > 1e-3
    if tune != "bitfit":
        again.save(tmp_path / "two")
        for name in ("adapter-0/adapter_model.safetensors", "adapter-0/adapter_config.json"):
            assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("tune", [{"name": "dora", "dropout": 0.1}, "ia3", "lora"])
def test_merging_is_what_was_trained_in_single_precision(tiny_backbone, tune):
    """Logits with the update beside the body, and after it was folded in, are the same to rounding."""
    stage = Stage.of(tune, "cross_entropy")
    classifier = applied(tiny_backbone, stage.tune.name, **stage.tune.options)
    for name, parameter in classifier.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
            parameter.data += 0.1 * noise
    ids = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0]])
    mask = (ids > 0).long()
    classifier.eval()
    with torch.no_grad():
        before = classifier(ids, mask).features
        classifier.merge()
        assert not hasattr(classifier.body, "peft_config")
        torch.testing.assert_close(classifier(ids, mask).features, before, atol=1e-5, rtol=0)
    [adapter] = classifier.adapters
    assert adapter.config["peft_type"] == ("IA3" if stage.tune.name == "ia3" else "LORA")


def test_several_updates_of_different_kinds_one_after_the_other(tiny_backbone, tmp_path):
    stages = [{"tune": tune, "objective": "cross_entropy", "epochs": 1} for tune in ("dora", "ia3", "lora")]
    plan = Recipe.from_dict({"name": "three", "stage": stages})
    labeler = Labeler(tiny_backbone, plan, calibration="none").fit(TRAIN)
    again = Labeler.load(labeler.save(tmp_path / "model"))
    assert len(again.bundle.classifier.adapters) == 3
    np.testing.assert_array_equal(again.predict(TEXTS).logits, labeler.predict(TEXTS).logits)


def test_an_update_of_another_kind_is_refused(tiny_backbone):
    classifier = Classifier(load_backbone(tiny_backbone), SCHEMA)
    with pytest.raises(BundleError, match="an adapter of kind 'VERA'; expected LORA or IA3"):
        classifier.add_adapter(Adapter({"peft_type": "VERA"}, {}))


def test_dora_trains_directions_and_sizes_of_every_linear_layer(tiny_backbone):
    classifier = applied(tiny_backbone, "dora", rank=3)
    names = trained_names(classifier)
    layers = {name.partition(".lora_")[0] for name in names}
    assert len(layers) == 2 * 6
    assert len(names) == 3 * len(layers)
    kinds = {name.partition(".lora_")[2].split(".")[0] for name in names}
    assert kinds == {"A", "B", "magnitude_vector"}
    module = classifier.body.base_model.model.encoder.layer[0].output.dense
    assert isinstance(module, LowRankLinear)  # which leaves it to peft, for it is no plain update
    assert (module.r["default"], module.lora_alpha["default"]) == (3, 6)


#: what each family calls keys, values and the output of a feed-forward layer, in the layer 0
IA3_TARGETS = {
    "bert": {"attention.self.key", "attention.self.value", "output.dense"},
    "deberta_v2": {"attention.self.key_proj", "attention.self.value_proj", "output.dense"},
    "albert": {"attention.key", "attention.value", "ffn_output"},
    "distilbert": {"attention.k_lin", "attention.v_lin", "ffn.lin2"},
    "mpnet": {"attention.attn.k", "attention.attn.v", "output.dense"},
    "modernbert": {"attn.Wqkv", "mlp.Wo"},
}


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_ia3_scales_keys_values_and_what_the_feed_forward_layers_hold(architecture, tmp_path):
    classifier = applied(write_backbone(tmp_path / "b", architecture), "ia3")
    names = trained_names(classifier)
    assert all(".ia3_l." in name for name in names)
    layers = [name.partition(".ia3_l")[0] for name in names]
    first = {name.rpartition(".0.")[2] for name in layers if ".0." in name}
    assert first == IA3_TARGETS.get(architecture, IA3_TARGETS["bert"])
    inner = {"output.dense", "ffn_output", "ffn.lin2", "mlp.Wo"}
    for name, parameter in classifier.named_parameters():  # of a feed-forward layer its input is scaled
        if ".ia3_l." in name and ".0." in name:
            scales_input = name.partition(".ia3_l")[0].rpartition(".0.")[2] in inner
            assert (parameter.shape[0] == 1) == scales_input


def test_bitfit_trains_every_bias_and_no_matrix(tiny_backbone):
    classifier = applied(tiny_backbone, "bitfit")
    names = trained_names(classifier)
    assert all(name.endswith(".bias") for name in names)
    assert len(names) == 1 + 2 * 8  # of the norm of the embeddings; of six maps and two norms a layer
    assert classifier.head.weight.requires_grad


@pytest.mark.parametrize(("tune", "some"), [("dora", 18), ("ia3", 3)])
def test_the_top_layers_alone(tiny_backbone, tune, some):
    names = trained_names(applied(tiny_backbone, tune, layers=1))
    assert len(names) == some
    assert all(".layer.1." in name for name in names)


@pytest.mark.parametrize(
    ("tune", "options", "cut"),
    [("dora", {"layers": 1}, True), ("ia3", {"layers": 1}, True), ("ia3", {}, False), ("bitfit", {}, False)],
)
def test_frozen_layers_below_are_run_once_where_there_are_any(tiny_backbone, tune, options, cut):
    classifier = applied(tiny_backbone, tune, **options)
    rows = Rows(classifier.tokenizer([row["text"] for row in TRAIN])["input_ids"], np.arange(40) % 2)
    context = Context({"labeled": rows}, SCHEMA, classifier, torch.device("cpu"))
    found = frozen_prefix(classifier, context, Stage.of(tune, "cross_entropy").training, None)
    assert (found is not None) == cut


@pytest.mark.parametrize("tune", TUNES)
def test_weight_decay_spares_vectors_of_every_kind(tiny_backbone, tune):
    classifier = applied(tiny_backbone, tune)
    player = make_players(classifier, [], Stage.of(tune, "cross_entropy", weight_decay=0.5).training)["model"]
    decay = {p: group["weight_decay"] for group in player.optimizer.param_groups for p in group["params"]}
    named = {name: decay[p] for name, p in classifier.named_parameters() if p.requires_grad}
    decayed = {name for name, value in named.items() if value}
    assert decayed == {
        name for name in named if name == "head.weight" or ".lora_A." in name or ".lora_B." in name
    }


@pytest.mark.parametrize("tune", TUNES)
def test_a_static_backbone_is_refused(tmp_path, tune):
    with pytest.raises(RecipeError, match=r"has no (linear layers|biases); use recipe"):
        applied(write_static(tmp_path / "static"), tune)


@pytest.mark.parametrize("tune", ["dora", "ia3"])
def test_top_layers_of_shared_layers_are_refused(tmp_path, tune):
    with pytest.raises(RecipeError, match=f"{tune}: layers = 1, but the layers of backbone .* are one set"):
        applied(write_backbone(tmp_path / "albert", "albert"), tune, layers=1)


@pytest.mark.parametrize(
    ("tune", "options", "message"),
    [
        ("dora", {"rank": 0}, "rank 0"),
        ("dora", {"dropout": 1.0}, r"dropout 1\.0"),
        ("ia3", {"layers": -1}, "layers = -1; expected 0 or more"),
    ],
)
def test_bad_options_are_refused(tune, options, message):
    with pytest.raises(RecipeError, match=message):
        registry.load("tune", tune).Options(**options)


RECIPE = """
[[stage]]
tune = {tune}
objective = "cross_entropy"
epochs = 1
learning_rate = 1e-2
optimizer = "{optimizer}"
"""


@pytest.mark.parametrize(
    ("tune", "optimizer"),
    [
        ('{ name = "dora", rank = 2, alpha = 3, dropout = 0.1, layers = 1 }', "sgd"),
        ('{ name = "ia3", layers = 1 }', "adamw"),
        ('"bitfit"', "sgd"),
    ],
)
def test_by_the_command_line(tiny_backbone, tmp_path, tune, optimizer):
    train, texts = tmp_path / "train.jsonl", tmp_path / "texts.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in TRAIN))
    texts.write_text("".join(json.dumps({"id": str(i), **row}) + "\n" for i, row in enumerate(TEXTS)))
    (tmp_path / "mine.toml").write_text(RECIPE.format(tune=tune, optimizer=optimizer))
    fit = ["fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone]
    fit += ["--recipe", tmp_path / "mine.toml", "--calibration", "none"]
    annotate = ["annotate", texts, "--model", tmp_path / "model", "--out", tmp_path / "labeled"]
    for words in (fit, annotate):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
    if "bitfit" not in tune:
        config = json.loads((tmp_path / "model/adapter-0/adapter_config.json").read_text())
        assert all("layer.1." in name for name in config["target_modules"])
        if "dora" in tune:
            told = ("r", "lora_alpha", "lora_dropout", "use_dora")
            assert [config[key] for key in told] == [2, 3, 0.1, True]
