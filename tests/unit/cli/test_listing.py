from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

from textlabel import registry
from textlabel.cli.app import app
from textlabel.recipe import shipped


def run(*words):
    return CliRunner().invoke(app, list(words))


def test_recipes_are_listed_with_what_they_do():
    plain, data = run("recipes").stdout, json.loads(run("recipes", "--json").stdout)
    assert list(data) == list(shipped())
    for name, description in data.items():
        assert description
        assert f"{description}\n" in plain
        assert name in plain


def test_a_recipe_is_printed_as_it_can_be_saved():
    assert tomllib.loads(run("recipes", "lora").stdout)["stage"][1]["tune"]["name"] == "lora"
    assert json.loads(run("recipes", "lora", "--json").stdout)["stage"][0]["epochs"] == 5


def test_keys_name_every_option_of_every_plugin():
    told = json.loads(run("recipes", "--keys", "--json").stdout)
    assert set(told["tune"]) == set(registry.plugins("tune"))
    assert set(told["objective"]) == set(registry.plugins("objective"))
    assert set(told["augment"]) == set(registry.plugins("augment"))
    assert {"name": "rank", "default": "8", "meaning": "rank r of each update."} in told["tune"]["lora"][
        "keys"
    ]
    plain = run("recipes", "--keys").stdout
    for word in ("layer_decay", "label_smoothing", "tune = { name =", "folds"):
        assert word in plain


def test_plugins_are_listed_by_kind():
    everything = json.loads(run("plugins", "--json").stdout)
    assert set(everything) == set(registry.KINDS)
    assert json.loads(run("plugins", "tune", "--json").stdout) == {"tune": registry.plugins("tune")}
    assert "textlabel.tune.lora" in run("plugins", "tune").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipes", "lorra"], "no shipped recipe is called 'lorra': did you mean 'lora'?"),
        (["plugins", "tunes"], "unknown plugin kind 'tunes': did you mean 'tune'?"),
    ],
)
def test_unknown_names(words, message):
    done = run(*words)
    assert done.exit_code == 1
    assert message in done.stderr
