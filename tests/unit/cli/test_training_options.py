"""What a recipe says of speed, by commands alone; and that no activations of rows stay behind."""

from __future__ import annotations

import json

import pytest
import torch
from tiny import snippets
from typer.testing import CliRunner

from textlabel.cli.app import app
from textlabel.engine import prefix

RECIPE = """
[[stage]]
tune = {{ name = "{tune}", layers = {layers} }}
objective = "cross_entropy"
epochs = 2
learning_rate = 1e-3
{more}
"""


@pytest.fixture
def fit(tiny_backbone, tmp_path, monkeypatch):
    """Return a function from a recipe to the tensors that `textlabel fit` trained with it."""
    monkeypatch.setenv("TEXTLABEL_CACHE", str(tmp_path / "cache"))
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(40)))

    def run(*words, tune="partial", layers=1, more="", code=0):
        (tmp_path / "mine.toml").write_text(RECIPE.format(tune=tune, layers=layers, more=more))
        options = ["--backbone", tiny_backbone, "--recipe", tmp_path / "mine.toml", "--calibration", "none"]
        words = ["fit", train, "--out", tmp_path / "model", *options, *words]
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == code, done.output
        return done.output if code else tensors(tmp_path / "model")

    return run


def tensors(folder):
    from safetensors.torch import load_file

    files = sorted(folder.rglob("*.safetensors"))
    return {f"{file.stem}/{name}": value for file in files for name, value in load_file(file).items()}


def updates(found):
    return {name for name in found if "lora_" in name}


@pytest.mark.slow
def test_lora_on_the_top_layers_saves_an_update_of_those_only(fit):
    every, top = updates(fit(tune="lora", layers=0)), updates(fit(tune="lora", layers=1))
    assert {name for name in every if ".layer.1." in name} == top
    assert any(".layer.0." in name for name in every)


@pytest.mark.slow
def test_micro_batch_tokens_change_the_way_not_the_result(fit):
    exact = 'mixed_precision = "no"\ndropout = 0.0\noptimizer = "sgd"'
    whole, parts = fit(more=exact), fit(more=f"{exact}\nmicro_batch_tokens = 15")
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[name], atol=1e-5, rtol=0, msg=name)


@pytest.mark.slow
def test_mixed_precision_can_be_switched_off(fit, monkeypatch):
    """Seen where it acts: the precision that each forward pass of a layer has."""
    from textlabel.engine.process import accelerator

    seen = []
    real = torch.nn.Linear.forward

    def look(self, x):
        if torch.is_grad_enabled():
            seen.append(torch.is_autocast_enabled("cpu"))
        return real(self, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", look)
    fit(more='mixed_precision = "no"')
    assert set(seen) == {False}
    seen.clear()
    fit()
    # the head's pass is never in it
    assert set(seen) == ({False, True} if accelerator().mixed_precision == "bf16" else {False})


@pytest.mark.parametrize(
    ("more", "tune", "layers", "message"),
    [
        ('mixed_precision = "fp8"', "partial", 1, "mixed_precision = 'fp8' is out of range"),
        ("micro_batch_tokens = -1", "partial", 1, "micro_batch_tokens = -1 is out of range"),
        ("", "lora", -1, "layers -1: one is out of range"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(fit, more, tune, layers, message):
    assert message in " ".join(fit(more=more, tune=tune, layers=layers, code=1).split())


@pytest.mark.parametrize(("words", "files"), [((), 1), (("--forget-rows",), 0), (("--no-cache",), 0)])
def test_activations_lie_in_a_file_only_where_they_may_and_none_stays(
    fit, tmp_path, monkeypatch, words, files
):
    monkeypatch.setattr(prefix, "MEMORY", 0)
    made = []
    real = prefix._unnamed_file

    def count(folder, *rest):
        made.append(folder)
        return real(folder, *rest)

    monkeypatch.setattr(prefix, "_unnamed_file", count)
    fit(*words)
    assert len(made) == files
    assert all(folder == tmp_path / "cache" for folder in made)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    models = {path for path in left if "model" in path.relative_to(tmp_path).parts}
    assert {path.name for path in set(left) - models} <= {"train.jsonl", "mine.toml"}
