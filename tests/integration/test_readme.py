"""What README shows is what happens."""

from __future__ import annotations

import csv
import re
import shlex
import sys
import types

import pytest
from tiny import several, snippets
from typer.testing import CliRunner

from textlabel import registry
from textlabel.cli.app import app
from textlabel.models.backbone import load_backbone
from textlabel.models.classifier import Classifier
from textlabel.resources import resource
from textlabel.types import LabelSchema

README = resource("README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Make the csv files that README speaks of, and work beside them."""
    for name, seed in (("labeled", 0), ("unlabeled", 1), ("gold", 1)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = [(row["id"], row["text"], row["label"]) for row in snippets(40, seed)]
            csv.writer(file).writerows([("id", "review", "verdict"), *rows])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example(folder, tiny_backbone, capsys):
    exec(PYTHON[0].replace("all-MiniLM-L6-v2", str(tiny_backbone)), {})
    assert "'confidence'" in capsys.readouterr().out
    assert (folder / "sure").is_dir()


def test_the_commands_on_your_own_csv(folder, tiny_backbone):
    section = README.partition("## On your own csv")[2].partition("##")[0]
    lines = re.findall(r"^    textlabel (.*)$", section, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["fit", "annotate", "evaluate"]
    for line in lines:
        words = shlex.split(line)
        more = ["--backbone", str(tiny_backbone)] if words[0] == "fit" else []
        done = CliRunner().invoke(app, words + more)
        assert done.exit_code == 0, done.stderr


def test_the_commands_of_several_tasks(tmp_path, monkeypatch, tiny_backbone):
    for name, seed in (("labeled", 0), ("unlabeled", 1), ("gold", 1)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            rows = [(row["text"], row["label"], "ab"[i % 3 > 0]) for i, row in enumerate(snippets(40, seed))]
            csv.writer(file).writerows([("text", "verdict", "section"), *rows])
    monkeypatch.chdir(tmp_path)
    section = README.partition("## Several tasks at once")[2].partition("##")[0]
    lines = re.findall(r"^    textlabel (.*)$", section, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["fit", "annotate", "evaluate"]
    for line in lines:
        words = shlex.split(line, comments=True)
        more = ["--backbone", str(tiny_backbone)] if words[0] == "fit" else []
        done = CliRunner().invoke(app, words + more)
        assert done.exit_code == 0, done.stderr


def test_the_commands_of_several_labels_a_row(tmp_path, monkeypatch, tiny_backbone):
    with (tmp_path / "labeled.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *((r["text"], "|".join(r["label"])) for r in several(60))]
        )
    with (tmp_path / "unlabeled.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text",), *((row["text"],) for row in several(20, seed=1))])
    monkeypatch.chdir(tmp_path)
    section = README.partition("## Several labels a row")[2].partition("##")[0]
    lines = [
        shlex.split(line, comments=True)
        for line in re.findall(r"^    textlabel (.*)$", section, re.MULTILINE)
    ]
    assert [words[0] for words in lines] == ["fit", "annotate"]
    for words in lines:
        more = ["--backbone", str(tiny_backbone)] if words[0] == "fit" else []
        done = CliRunner().invoke(app, words + more)
        assert done.exit_code == 0, done.stderr


def test_the_plugin_of_one_file(tiny_backbone):
    plugin = types.ModuleType("attention")
    sys.modules["attention"] = plugin  # where a dataclass looks for its annotations
    exec(PYTHON[1], plugin.__dict__)
    del sys.modules["attention"]
    assert plugin.NAME not in registry.plugins("tune")  # an example of what is not there yet
    classifier = Classifier(load_backbone(tiny_backbone), LabelSchema("single", ("a", "b")))
    plugin.apply(classifier, plugin.Options())
    trained = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} <= trained
    attention = trained - {"head.weight", "head.bias"}
    assert len(attention) == 2 * 2 * 5  # weights and biases of two layers: four maps and a norm
    assert all(".attention." in name for name in attention)


def test_every_file_it_points_to_is_there():
    for place in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert resource(place).exists(), place


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "recipes/benchmarks/README.md"])
def test_nothing_is_said_twice(name):
    """As a merge may leave it behind."""
    lines = [line for line in resource(name).read_text(encoding="utf-8").splitlines() if len(line) > 40]
    assert [line for line in lines if lines.count(line) > 1] == []
