"""Copies belong to training rows: their label, their fold, never a row that is held out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny import snippets
from typer.testing import CliRunner

from textlabel import Labeler, registry
from textlabel.cli.app import app
from textlabel.engine import run
from textlabel.engine.augmentation import copies_of
from textlabel.errors import PluginError, RecipeError
from textlabel.models.backbone import load_backbone
from textlabel.recipe import Recipe, Stage

TEXTS = [row["text"] for row in snippets(20)]


def stage(*augment):
    return Stage.of("lora", "cross_entropy", augment=list(augment), epochs=1)


def test_copies_of_several_changes_with_the_row_of_each(tiny_backbone):
    backbone = load_backbone(tiny_backbone)
    plan = stage({"name": "delete", "copies": 2, "share": 0.3}, {"name": "swap", "swaps": 3})
    found = copies_of(TEXTS, plan, backbone, seed=0)
    assert len(found.texts) == len(found.owners)
    assert 2 * 20 < len(found.texts) <= 3 * 20
    for text, owner in zip(found.texts, found.owners, strict=True):
        assert set(text.split()) <= set(TEXTS[owner].split())
        assert text != TEXTS[owner]
    assert set(found.owners.tolist()) == set(range(20))
    again, other = copies_of(TEXTS, plan, backbone, 0), copies_of(TEXTS, plan, backbone, 1)
    assert again.texts == found.texts
    assert other.texts != found.texts


def test_a_copy_like_its_original_is_left_out(tiny_backbone):
    found = copies_of(["film", "the film was good"], stage("delete"), load_backbone(tiny_backbone), 0)
    assert found.owners.tolist() == [1]


def test_no_change_no_copies(tiny_backbone):
    found = copies_of(TEXTS, stage(), load_backbone(tiny_backbone), 0)
    assert found.texts == []
    assert found.owners.tolist() == []


def fitted(backbone, monkeypatch, calibration, **training):
    """Fit with copies, and return what each training of the stage saw: rows, their classes, copied texts."""
    seen, copied = [], []
    real_train, real_copies = run.train, run.copies_of

    def train(classifier, plan, context, *args, **kwargs):
        rows = context.rows["labeled"]
        seen.append((rows.tokens, np.asarray(rows.targets).tolist()))
        return real_train(classifier, plan, context, *args, **kwargs)

    def copies(texts, *args):
        found = real_copies(texts, *args)
        copied.append((list(texts), found))
        return found

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(run, "copies_of", copies)
    table = {"tune": "lora", "objective": "cross_entropy", "epochs": 1, **training}
    plan = Recipe.from_dict(
        {"stage": [{**table, "augment": [{"name": "delete", "copies": 2, "share": 0.3}]}]}
    )
    Labeler(backbone, plan, calibration=calibration).fit(snippets(40))
    return seen, copied


@pytest.mark.slow
@pytest.mark.parametrize(("calibration", "training"), [("folds=2", {}), ("none", {"patience": 1})])
def test_copies_are_of_the_rows_that_train_and_bear_their_labels(
    tiny_backbone, monkeypatch, calibration, training
):
    seen, copied = fitted(tiny_backbone, monkeypatch, calibration, **training)
    backbone = load_backbone(tiny_backbone)
    labels = {row["text"]: int(row["label"] == "positive") for row in snippets(40)}
    assert len(seen) == (3 if calibration == "folds=2" else 1)
    for (tokens, targets), (texts, found) in zip(seen, copied, strict=True):
        n = len(texts)
        assert n < 40 or calibration == "folds=2"  # early stopping looks at rows of which there are no copies
        assert tokens[:n] == backbone.encode(texts)
        assert tokens[n:] == backbone.encode(found.texts)
        assert targets[:n] == [labels[text] for text in texts]
        assert targets[n:] == [labels[texts[owner]] for owner in found.owners]
    if calibration == "folds=2":  # the two folds share no row, so no copy crosses
        assert not set(copied[0][0]) & set(copied[1][0])
        assert len(copied[2][0]) == 40


def test_unknown_changes_and_options_are_refused():
    with pytest.raises(PluginError, match="unknown augment 'deleted': did you mean 'delete'"):
        stage("deleted")
    with pytest.raises(RecipeError, match="augment 'delete': unknown key 'shares': did you mean 'share'"):
        stage({"name": "delete", "shares": 0.2})


def test_a_recipe_with_changes_survives_a_round_trip():
    table = {
        "tune": "lora",
        "objective": "cross_entropy",
        "augment": ["swap", {"name": "delete", "copies": 3}],
    }
    plan = Recipe.from_dict({"name": "mine", "stage": [table]})
    assert [plugin.name for plugin in plan.stages[0].augment] == ["swap", "delete"]
    assert Recipe.from_dict(plan.to_dict()) == plan
    assert plan.to_dict()["stage"][0]["augment"][1] == {"name": "delete", "copies": 3}


RECIPE = """
[[stage]]
tune = {{ name = "partial", layers = 1 }}
objective = "cross_entropy"
epochs = 1
{augment}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "augment",
    [
        'augment = "swap"',
        'augment = [{ name = "delete", copies = 2, share = 0.2 }, { name = "swap", swaps = 1 }]',
        'augment = [{ name = "neighbors", copies = 2, share = 0.5, nearest = 2 }]',
        'augment = [{ name = "masked_lm", likeliest = 3 }]',
    ],
)
def test_by_the_command_line(tmp_path, augment):
    from tiny import write_backbone

    backbone = write_backbone(tmp_path / "backbone", "bert_without_pooler")
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(24)))

    def weights(name, more):
        from safetensors.torch import load_file

        (tmp_path / f"{name}.toml").write_text(RECIPE.format(augment=more))
        words = ["fit", train, "--out", tmp_path / name, "--backbone", backbone]
        words += ["--recipe", tmp_path / f"{name}.toml", "--calibration", "none"]
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return load_file(tmp_path / name / "head.safetensors")["head.weight"]

    with_copies, again, plain = weights("one", augment), weights("two", augment), weights("three", "")
    assert (with_copies == again).all()
    assert (with_copies != plain).any()


def test_a_missing_masked_head_is_told_by_the_command_line(tiny_backbone, tmp_path):
    train = tmp_path / "train.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in snippets(24)))
    (tmp_path / "mine.toml").write_text(RECIPE.format(augment='augment = "masked_lm"'))
    words = ["fit", train, "--out", tmp_path / "model", "--backbone", tiny_backbone]
    words += ["--recipe", tmp_path / "mine.toml", "--calibration", "none"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 1
    assert "use augment 'neighbors'" in " ".join(done.output.split())


def test_a_copy_trains_the_solved_heads_that_its_row_trains(tiny_backbone, monkeypatch):
    """Told by the features that each head is fitted on: a copy is never there without its row."""
    given, fits = [], []
    real_head, module = run.fit_head, registry.load("objective", "cross_entropy")
    real_linear = module.fit_linear

    def fit_head(features, *args, **more):
        given.append((features, args[-1]))
        return real_head(features, *args, **more)

    def fit_linear(features, *args):
        fits.append({row.tobytes() for row in features})
        return real_linear(features, *args)

    monkeypatch.setattr(run, "fit_head", fit_head)
    monkeypatch.setattr(module, "fit_linear", fit_linear)
    change = {"name": "swap", "copies": 2}
    table = {"tune": "head", "objective": "cross_entropy"}
    plan = Recipe.from_dict({"stage": [{**table, "augment": [change]}]})
    labeler = Labeler(tiny_backbone, plan).fit(snippets(40))
    [(features, aside)] = given
    assert len(aside.copies) == len(aside.owners) > 60
    fits = [seen for seen in fits if any(copy.tobytes() in seen for copy in aside.copies)]
    assert len(fits) > 5
    sizes = set()
    for seen in fits:
        there = np.array([row.tobytes() in seen for row in features])
        copied = np.array([copy.tobytes() in seen for copy in aside.copies])
        assert (copied == there[aside.owners]).all()
        sizes.add(int(there.sum()))
    assert sizes == {32, 40}
    plain = Labeler(tiny_backbone, Recipe.from_dict({"stage": [table]})).fit(snippets(40))
    assert (labeler.bundle.classifier.head.weight != plain.bundle.classifier.head.weight).any()
