"""What `auto` tries, in which order, and what it makes of it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tiny import SMALL, snippets, write_tokenizer, write_weights

from textlabel import Labeler
from textlabel.engine import auto
from textlabel.engine.adapt import adapt
from textlabel.engine.run import Task
from textlabel.errors import RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep") / "backbone"
    write_weights(folder, "BertConfig", {**SMALL, "num_hidden_layers": 4}, masked=False, seed=0)
    write_tokenizer(folder)
    return folder


def task(n=40, corpus=0):
    rows = snippets(n + corpus)
    targets = np.array([SCHEMA.index(row["label"]) for row in rows[:n]])
    return Task(
        [row["text"] for row in rows[:n]], targets, SCHEMA, unlabeled=[row["text"] for row in rows[n:]]
    )


def tried(bundle):
    return {(t["name"], t["layers"]): t["verdict"] for t in bundle.record["tried"]}


def test_readings_the_floor_and_what_time_allows(deep):
    bundle = adapt(load_backbone(deep), task(), Recipe.load("auto"), 0, budget=0)
    found = tried(bundle)
    assert list(found) == [
        ("auto", 3),
        ("auto", 1),
        (auto.FLOOR, 0),
        ("contrastive", bundle.classifier.info.layers),
        ("lora", bundle.classifier.info.layers),
    ]
    assert list(found.values()).count("chosen") == 1
    assert found[auto.FLOOR, 0] == "the floor"
    assert found["lora", bundle.classifier.info.layers] == "no time"
    assert bundle.record["recipe"]["name"] == "auto"
    assert bundle.record["recipe"]["stage"][0]["rows"] == "labeled"  # there was no corpus


def test_what_was_chosen_is_what_is_fitted(deep, tmp_path):
    one = adapt(load_backbone(deep), task(), Recipe.load("auto"), 0, budget=0)
    chosen = next(t for t in one.record["tried"] if t["verdict"] == "chosen")
    again = adapt(load_backbone(deep, layers=chosen["layers"]), task(), Recipe.load("auto"), 0, budget=0)
    weights = [bundle.classifier.head.weight.detach().numpy() for bundle in (one, again)]
    np.testing.assert_allclose(*weights, atol=1e-5)
    one.save(tmp_path / "model")
    labeler = Labeler.load(tmp_path / "model")
    assert labeler.bundle.classifier.info.layers == chosen["layers"]
    assert labeler.recipe.stages[0].tune.name == "head"


def test_layers_that_were_chosen_are_not_chosen_again(deep):
    bundle = adapt(load_backbone(deep, layers=2), task(), Recipe.load("auto"), 0, budget=0)
    assert [t["layers"] for t in bundle.record["tried"] if t["name"] == "auto"] == [2]


def test_the_corpus_is_read_once_for_all_readings(deep, monkeypatch):
    read = []
    real = auto.Run._read
    monkeypatch.setattr(
        auto.Run, "_read", lambda self, model, texts: read.append(len(texts)) or real(self, model, texts)
    )
    bundle = adapt(load_backbone(deep), task(corpus=50), Recipe.load("auto"), 0, budget=0)
    assert len([n for n in read if n > 2]) == 1
    assert bundle.record["recipe"]["stage"][0]["rows"] == "both"


def test_a_recipe_that_trains_the_body_must_be_better_by_more_than_noise(deep, monkeypatch):
    recipe = Recipe.from_dict({**Recipe.load("auto").to_dict(), "alternatives": ["partial"]})
    truth = task().targets
    for good, verdict in ((True, "chosen"), (False, "not better by more than the noise")):
        logits = 9.0 * np.eye(2)[truth if good else 1 - truth]
        monkeypatch.setattr(
            "textlabel.engine.adapt._by_folds", lambda run, folds, scope, kept=logits: _scored(run, kept)
        )
        bundle = adapt(load_backbone(deep), task(), recipe, 0, budget=600, calibration="none")
        assert tried(bundle)["partial", bundle.classifier.info.layers] == verdict
        assert bundle.record["recipe"]["name"] == ("partial" if good else "auto")


def _scored(run, logits):
    from textlabel.engine.adapt import Scored

    return Scored(np.arange(len(logits)), logits, np.zeros(len(logits), np.float32))


def test_a_backbone_that_knows_less_than_the_floor_is_told(deep, caplog):
    words = ["qq ww", "zz xx"]  # unknown to its tokenizer, all of them
    y = np.arange(40) % 2
    texts = [f"{words[k]} {'v' * (i + 1)}" for i, k in enumerate(y)]
    with caplog.at_level(logging.WARNING, "textlabel"):
        adapt(load_backbone(deep), Task(texts, y, SCHEMA), Recipe.load("auto"), 0, budget=0)
    assert "may not read this language" in caplog.text


def test_alternatives_stand_beside_one_head():
    lora = Recipe.load("lora").to_dict()
    with pytest.raises(RecipeError, match="one stage with tune = 'head'"):
        Recipe.from_dict({**lora, "alternatives": ["head"]})
    with pytest.raises(RecipeError, match="alternatives of its own"):
        Recipe.from_dict({**Recipe.load("head").to_dict(), "alternatives": ["auto"]})
