"""Labeled rows choose the pooling where they are asked to, and the backbone's own stands unless they do."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import several, snippets, write_backbone, write_static

from textlabel import Labeler, MultiLabeler
from textlabel.engine import pooling
from textlabel.engine.comparison import least_by_far
from textlabel.engine.pooling import losses_of
from textlabel.errors import BackboneError, RecipeError
from textlabel.trust.calibration import softmax


@pytest.fixture
def of_cls(tmp_path):
    """A backbone that says of itself that it reads the first token, which attends to no other one."""
    folder = write_backbone(tmp_path / "backbone")
    tensors = load_file(folder / "model.safetensors")
    blind = [name for name in tensors if name.endswith("attention.output.dense.weight")]
    assert blind
    save_file(
        tensors | {name: torch.zeros_like(tensors[name]) for name in blind}, folder / "model.safetensors"
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    return folder


def verdicts(labeler):
    return {trial["name"]: trial["verdict"] for trial in labeler.record()["tried"]}


def test_the_pooling_that_is_better_by_far_is_taken_kept_and_read_again(of_cls, tmp_path):
    rows = snippets(160)
    labeler = Labeler(of_cls, pooling="best").fit(rows)
    tried = {trial["name"]: trial for trial in labeler.record()["tried"]}
    assert list(tried) == ["head (cls)", "head (mean)", "head (max)"]
    [chosen] = [name for name, trial in tried.items() if trial["verdict"] == "pooling chosen"]
    assert chosen != "head (cls)"
    assert tried[chosen]["nll"] == min(trial["nll"] for trial in tried.values())
    taken = chosen.removeprefix("head (")[:-1]
    assert labeler.bundle.classifier.info.pooling == taken
    # what is fitted is what somebody gets who names that pooling
    same = Labeler(of_cls, pooling=taken).fit(rows)
    np.testing.assert_array_equal(
        labeler.bundle.classifier.head.weight.tolist(), same.bundle.classifier.head.weight.tolist()
    )
    labeler.save(tmp_path / "model")
    again = Labeler.load(tmp_path / "model")
    assert again.bundle.classifier.info.pooling == taken
    assert (
        again.annotate(snippets(9, seed=1))["confidence"] == same.annotate(snippets(9, seed=1))["confidence"]
    )
    again.backbone = of_cls
    again.fit(rows)  # the choice was made
    assert again.bundle.classifier.info.pooling == taken


def test_within_the_noise_the_backbones_own_stands(tiny_backbone, monkeypatch):
    seen = {}

    def by_far(losses):
        seen.update(losses)
        return least_by_far(losses)

    monkeypatch.setattr(pooling, "least_by_far", by_far)
    labeler = Labeler(tiny_backbone, pooling="best").fit(snippets(12))
    gains = [seen[0] - seen[number] for number in (1, 2)]
    assert all(gain.mean() < 2 * gain.std(ddof=1) / 12**0.5 for gain in gains)
    assert verdicts(labeler)["head (mean)"] == "pooling chosen"
    assert labeler.bundle.classifier.info.pooling == "mean"


def test_a_recipe_that_trains_the_body_begins_with_what_the_frozen_one_chose(of_cls, tmp_path, monkeypatch):
    monkeypatch.setattr(pooling, "least_by_far", lambda losses: 2)
    recipe = tmp_path / "short.toml"
    recipe.write_text(
        'description = "x"\n[[stage]]\ntune = "full"\nobjective = "cross_entropy"\nepochs = 1\n'
    )
    labeler = Labeler(of_cls, recipe, pooling="best", calibration="holdout")
    labeler.fit(snippets(40), checkpoint=tmp_path / "checkpoint")
    info = labeler.bundle.classifier.info
    assert (info.pooling, labeler.bundle.classifier.body_changed) == ("max", True)
    assert verdicts(labeler)["head (max)"] == "pooling chosen"


def test_auto_chooses_the_pooling_first_on_the_reading_that_it_tries_first(of_cls, monkeypatch):
    monkeypatch.setattr(pooling, "least_by_far", lambda losses: 1)
    labeler = Labeler(of_cls, "auto", pooling="best", budget=0).fit(snippets(40))
    tried = labeler.record()["tried"]
    assert [(trial["name"], trial["layers"]) for trial in tried[:4]] == [
        ("head (cls)", 2), ("head (mean)", 2), ("head (max)", 2), ("auto", 2),
    ]  # fmt: skip
    assert [trial["verdict"] for trial in tried].count("chosen") == 1


@pytest.mark.parametrize(("recipe", "rows"), [("multilabel", several(40)), ("regression", None)])
def test_other_kinds_of_labels_choose_too(of_cls, monkeypatch, recipe, rows):
    monkeypatch.setattr(pooling, "least_by_far", lambda losses: 1)
    rows = rows or [{**row, "label": float(len(row["text"]))} for row in snippets(40)]
    labeler = Labeler(of_cls, recipe, pooling="best").fit(rows)
    assert labeler.bundle.classifier.info.pooling == "mean"
    assert verdicts(labeler)[f"{recipe} (mean)"] == "pooling chosen"


def test_each_of_several_tasks_chooses(of_cls, monkeypatch):
    rows = [{"text": row["text"], "a": row["label"], "b": row["label"]} for row in snippets(40)]
    chosen = iter((1, 2))
    monkeypatch.setattr(pooling, "least_by_far", lambda losses: next(chosen))
    labeler = MultiLabeler({"a": "a", "b": "b"}, of_cls, pooling="best").fit(rows)
    found = {task: one.bundle.classifier.info.pooling for task, one in labeler.labelers.items()}
    assert found == {"a": "mean", "b": "max"}
    assert {"a_label", "b_label"} <= set(labeler.annotate(snippets(3)).column_names)


def test_where_no_token_is_read_in_context_it_is_refused(tmp_path, tiny_backbone, caplog):
    static = write_static(tmp_path / "static")
    with pytest.raises(RecipeError, match="static is a static backbone, whose first token says nothing"):
        Labeler(static, pooling="best").fit(snippets(20))
    with pytest.raises(RecipeError, match="recipe 'tfidf' reads no backbone"), caplog.at_level(logging.ERROR):
        Labeler(recipe="tfidf", pooling="best").fit(snippets(20))
    with pytest.raises(RecipeError, match="pooling = 'best' needs labeled rows"):
        Labeler(tiny_backbone, pooling="best").fit(None, classes=["good", "bad"])


def test_training_a_backbone_names_a_pooling(tiny_backbone, tmp_path):
    from textlabel import train_backbone

    with pytest.raises(BackboneError, match="pooling = 'best': expected 'mean', 'cls' or 'max'"):
        train_backbone({"a": snippets(20)}, out=tmp_path / "out", backbone=tiny_backbone, pooling="best")


def test_losses_of_classes_are_at_the_best_temperature():
    logits, targets = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]]), np.array([0, 1, 1])
    tempered = losses_of(logits, targets)
    plain = -np.log(softmax(logits)[np.arange(3), targets])
    assert tempered.mean() < plain.mean()
    np.testing.assert_allclose(tempered, losses_of(10 * logits, targets), atol=1e-3)
