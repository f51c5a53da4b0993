"""A model whose head is not linear labels, is saved and told of as any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import snippets

from textlabel import Labeler
from textlabel.errors import BundleError, RecipeError, TextlabelError
from textlabel.models.bundle import Bundle
from textlabel.models.classifier import Frozen
from textlabel.recipe import Recipe, Stage
from textlabel.steps import Fit

ROWS, CORPUS = snippets(60), snippets(20, seed=1)
MLP = Stage.of(tune={"name": "head", "l2": 0.1}, objective={"name": "mlp", "steps": 100})
RECIPES = {"mlp": Recipe("mlp", (MLP,)), "knn": Recipe.load("knn")}


@pytest.fixture(scope="module", params=sorted(RECIPES))
def labeler(request, tiny_backbone):
    return Labeler(tiny_backbone, RECIPES[request.param]).fit(ROWS)


def test_a_saved_model_gives_the_same_and_tells_what_it_holds(labeler, tmp_path):
    head, name = labeler.bundle.classifier.head, labeler.recipe.name
    assert isinstance(head, Frozen)
    assert head.name == name
    expected = labeler.annotate(CORPUS)
    assert np.mean(np.array(expected["label"][:]) >= 0) == 1
    assert np.std(expected["confidence"][:]) > 0
    labeler.save(tmp_path / "model")
    again = Labeler.load(tmp_path / "model")
    assert again.annotate(CORPUS)["confidence"][:] == expected["confidence"][:]
    assert again.bundle.digest() == labeler.bundle.digest()
    record = json.loads((tmp_path / "model/textlabel.json").read_text())
    assert (record["head"], record["record"]["head"]["kind"]) == (name, name)
    keeps = "embedding and the class of every training row" in (tmp_path / "model/README.md").read_text()
    assert keeps == (name == "knn")
    tensors = load_file(tmp_path / "model/head.safetensors")
    assert ("head.rows" in tensors) == (name == "knn")
    assert any(len(value) == len(ROWS) for key, value in tensors.items() if key.startswith("head.")) == keeps


def test_rows_are_right_more_often_than_by_chance(labeler):
    corpus, names = snippets(200, seed=1), labeler.schema.names
    found = labeler.annotate(corpus)["label"][:]
    right = [names[i] == row["label"] for i, row in zip(found, corpus, strict=True)]
    assert np.mean(right) > 0.6


def test_what_is_linear_by_nature_is_not_there(labeler):
    assert labeler.bundle.members == ()
    assert labeler.bundle.source.twins is None
    with pytest.raises(TextlabelError, match="ensemble"):
        labeler.annotate(CORPUS, order_by="ensemble")


def test_rows_can_be_forgotten_where_the_head_is_not_made_of_them(labeler):
    copy = Bundle(**vars(labeler.bundle))
    if labeler.recipe.keeps_rows:
        with pytest.raises(BundleError, match="holds the features of all training rows"):
            copy.forget_rows()
    else:
        assert copy.forget_rows().classifier is copy.classifier


def test_the_command_refuses_before_anything_is_fitted(tmp_path):
    with pytest.raises(RecipeError, match="forget_rows = true: the head of recipe 'knn' holds the features"):
        Fit(str(tmp_path / "out"), train="nowhere.csv", recipe="knn", forget_rows=True).run()


def test_a_body_that_was_trained_before(tiny_backbone, tmp_path):
    full = Stage.of(tune="full", objective="cross_entropy", epochs=1)
    recipe = Recipe("both", (full, *RECIPES["knn"].stages))
    labeler = Labeler(tiny_backbone, recipe, calibration="holdout").fit(ROWS)
    expected = labeler.annotate(CORPUS)["confidence"][:]
    labeler.save(tmp_path / "model")
    assert Labeler.load(tmp_path / "model").annotate(CORPUS)["confidence"][:] == expected
    assert labeler.bundle.classifier.head.in_features == 16


def test_labels_that_are_likely_wrong_are_pruned_from_the_neighbors(tiny_backbone):
    wrong = {"positive": "negative", "negative": "positive"}
    rows = [{**row, "label": wrong[row["label"]]} if i % 12 == 0 else row for i, row in enumerate(ROWS)]
    labeler = Labeler(tiny_backbone, "knn", noisy_labels="prune").fit(rows)
    pruned = labeler.record()["labels"]["likely_wrong"]
    assert pruned > 0
    assert len(labeler.bundle.classifier.head.rows) == len(rows) - pruned


def test_what_spreads_is_learned_by_a_linear_head(tiny_backbone):
    stage = Stage.of(tune={"name": "head", "spread": [0.5]}, objective="knn", rows="both")
    labeler = Labeler(tiny_backbone, Recipe("spread", (stage,))).fit(ROWS, snippets(40, seed=2))
    assert not isinstance(labeler.bundle.classifier.head, Frozen)
    assert len(labeler.bundle.members) == 5
