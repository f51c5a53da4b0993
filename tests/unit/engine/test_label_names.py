"""Without a label: a head made of class names, and what such a model says of itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import load_from_disk
from tiny import snippets
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.engine.label_names import TEMPERATURE, head_of_names
from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.models.class_names import TEMPLATES

CORPUS = [{"text": row["text"]} for row in snippets(40)]
CLASSES = ["bad film", "good phone"]


@pytest.fixture(scope="module")
def fitted(tiny_backbone):
    return Labeler(tiny_backbone, cache=False).fit(None, CORPUS, classes=CLASSES)


def clusters(seed=0, n=300):
    """Return rows of three clusters around one place, their classes, and names that lie elsewhere."""
    rng = np.random.default_rng(seed)
    centers = 2 * np.eye(3, 12)
    y = rng.integers(0, 3, n)
    rows = centers[y] + 0.5 * rng.normal(size=(n, 12)) + 9 * rng.normal(size=12)
    names = 0.4 * centers + 0.3 * rng.normal(size=(3, 12)) + 4 * rng.normal(size=12)
    return rows, y, names[None]


def test_without_a_corpus_logits_are_cosines_with_the_names():
    rng = np.random.default_rng(1)
    names, rows = rng.normal(size=(2, 3, 5)), rng.normal(size=(7, 5))
    unit = names / np.linalg.norm(names, axis=2, keepdims=True)
    classes = unit.mean(axis=0)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    length = np.linalg.norm(names, axis=2).mean()
    np.testing.assert_allclose(head_of_names(names)(rows), rows @ classes.T / (TEMPERATURE * length))


def test_a_corpus_takes_away_what_its_texts_share_and_moves_classes_to_their_texts():
    rows, y, names = clusters()
    assert np.mean(head_of_names(names)(rows).argmax(axis=1) == y) < 0.7
    assert np.mean(head_of_names(names, rows)(rows).argmax(axis=1) == y) > 0.95


def test_a_corpus_of_other_units_gives_the_same_probabilities():
    rows, _, names = clusters()
    np.testing.assert_allclose(
        head_of_names(7 * names, 7 * rows)(7 * rows), head_of_names(names, rows)(rows), atol=1e-8
    )


def test_texts_that_are_all_alike_give_finite_logits():
    rows = np.ones((4, 3))
    assert np.isfinite(head_of_names(np.eye(2, 3)[None], rows)(rows)).all()


def test_the_model_says_that_it_learned_from_no_label(fitted, caplog):
    record = fitted.record()
    assert record["labels"] == {"train": 0, "calibration": 0, "audit": 0}
    assert record["calibrator"] == {"name": "none"}
    assert record["head"] == {"templates": list(TEMPLATES), "corpus": len({row["text"] for row in CORPUS})}
    assert fitted.bundle.source is None


def test_fitting_warns_once_in_one_line(tiny_backbone, caplog):
    Labeler(tiny_backbone, cache=False).fit(None, classes=CLASSES)
    [warning] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "no labels: 2 classes are known by their names alone" in warning
    assert "NOT calibrated" in warning


def test_every_row_is_for_review_unless_somebody_says_otherwise(fitted):
    rows = fitted.annotate(CORPUS)
    assert set(rows["decision"]) == {"review"}
    assert set(rows["label"]) <= {0, 1}
    assert all(set(found) == set(CLASSES) for found in rows["prediction_set"])  # nothing is ruled out
    asked = fitted.annotate(CORPUS, min_confidence=0.0)
    assert set(asked["decision"]) == {"accepted"}


def test_a_labeled_model_accepts_from_ninety_percent_as_before(tiny_backbone):
    bundle = Labeler(tiny_backbone, cache=False).fit(snippets(24)).bundle
    assert (bundle.accepts_from(None), bundle.accepts_from(0.5)) == (0.9, 0.5)
    for wrong in (1.1, -0.1, "0.5", float("nan")):
        with pytest.raises(RecipeError, match="expected a probability"):
            bundle.accepts_from(wrong)


def test_what_compares_with_labeled_rows_is_refused(fitted):
    predictions = fitted.predict(CORPUS)
    with pytest.raises(BundleError, match="no statistics of labeled rows"):
        fitted.estimate(predictions)
    with pytest.raises(BundleError, match="out_of_scope_rate needs scores of labeled rows"):
        fitted.annotate(CORPUS, out_of_scope_rate=0.1)


def test_the_saved_model_labels_alike(fitted, tmp_path):
    loaded = Labeler.load(fitted.save(tmp_path / "model"))
    before, after = fitted.annotate(CORPUS), loaded.annotate(CORPUS)
    assert before["label"] == after["label"]
    assert set(after["decision"]) == {"review"}
    assert "**It was not calibrated**" in (tmp_path / "model" / "README.md").read_text()
    gold = [{"id": str(i), "text": "good", "label": CLASSES[0]} for i in range(40)]
    assert loaded.evaluate(after, gold).to_json()["n"] == 40
    assert loaded.record()["recipe"]["name"] == "label_names"


def test_it_learns_from_labels_when_there_are_some(tiny_backbone):
    labeler = Labeler(tiny_backbone, cache=False).fit(None, CORPUS, classes=CLASSES).fit(snippets(24))
    assert labeler.record()["labels"]["train"] == 24
    assert labeler.bundle.accepts_from(None) == 0.9


def test_without_a_corpus_the_map_is_of_the_names(tiny_backbone):
    fitted = Labeler(tiny_backbone, cache=False).fit(None, classes=CLASSES)
    assert fitted.record()["head"]["corpus"] == 0
    assert np.isfinite(fitted.annotate(CORPUS)["ood_score"]).all()


def test_descriptions_alone_name_the_classes(tiny_backbone):
    words = {"1": "a good film", "0": "a bad film"}
    schema = Labeler(tiny_backbone, descriptions=words, cache=False).fit(None, CORPUS).schema
    assert schema.names == ("1", "0")
    assert schema.descriptions == ("a good film", "a bad film")


@pytest.mark.parametrize(
    ("classes", "error"),
    [
        (None, "nothing to learn from: give labeled rows, or name the classes"),
        (["good"], "at least two classes"),
        (["good", "good"], "must be unique"),
        (["good", "1"], "class '1' says nothing in words"),
        (["good", " "], "class ' ' says nothing in words"),
    ],
)
def test_names_that_tell_nothing_are_refused(tiny_backbone, classes, error):
    with pytest.raises(CorpusError, match=error):
        Labeler(tiny_backbone).fit(None, CORPUS, classes=classes)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"recipe": "lora"}, "recipe 'lora' needs labeled rows"),
        ({"recipe": "regression"}, "recipe 'regression' needs labeled rows"),
        ({"calibration": "holdout"}, "calibration = 'holdout' needs labeled rows"),
        ({"calibrator": "temperature"}, "calibrator = 'temperature' needs labeled rows"),
        ({"noisy_labels": "prune"}, "noisy_labels = 'prune' needs labeled rows"),
        ({"keep_reference": True}, "keep_reference needs labeled rows"),
        ({"off_map": "knn"}, "compares with labeled rows"),
    ],
)
def test_what_learns_from_labels_is_refused(tiny_backbone, settings, error):
    with pytest.raises(RecipeError, match=error):
        Labeler(tiny_backbone, **settings).fit(None, CORPUS, classes=CLASSES)


def test_validation_rows_are_refused(tiny_backbone):
    rows = [{"text": "good", "label": "good phone"}]
    with pytest.raises(RecipeError, match="validation needs labeled rows"):
        Labeler(tiny_backbone).fit(None, validation=rows, classes=CLASSES)


def test_a_named_class_that_no_labeled_row_has_is_refused(tiny_backbone):
    rows = snippets(24)
    with pytest.raises(CorpusError, match="no labeled row is of class 'mixed'"):
        Labeler(tiny_backbone).fit(rows, classes=["negative", "positive", "mixed"])
    named = Labeler(tiny_backbone, cache=False).fit(rows, classes=["positive", "negative"])
    assert named.schema.names == ("negative", "positive")


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done


def test_the_command_needs_no_training_file(tiny_backbone, tmp_path):
    corpus, model, out = tmp_path / "corpus.jsonl", tmp_path / "model", tmp_path / "labeled"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in CORPUS))
    names = ["--classes", "bad film, good phone", "--backbone", tiny_backbone]
    told = run("fit", *names, "--unlabeled", corpus, "--out", model, "--json")
    assert json.loads(told.stdout)["classes"] == CLASSES
    assert "NOT calibrated" in told.stderr
    found = json.loads(run("annotate", corpus, "--model", model, "--out", out, "--json").stdout)
    assert found["decisions"] == {"accepted": 0, "review": 40, "out_of_scope": 0}
    assert found["estimated_accuracy"] is None
    assert "no row is accepted" in (out / "README.md").read_text()
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps({"id": str(i), "label": "bad film"}) + "\n" for i in range(40)))
    assert json.loads(run("evaluate", out, "--gold", gold, "--json").stdout)["n"] == 40
    again = tmp_path / "again"
    asked = run("annotate", corpus, "--model", model, "--out", again, "--min-confidence", "0", "--json")
    assert json.loads(asked.stdout)["decisions"]["accepted"] == 40
    assert len(load_from_disk(again)) == 40


def test_the_command_says_what_is_missing(tmp_path):
    assert "name the classes (--classes" in run("fit", "--out", tmp_path / "model", code=1).stderr


@pytest.mark.parametrize(
    ("options", "classes", "told"),
    [
        ({"threshold": "f1"}, CLASSES, "threshold"),
        ({"recipe": "lda"}, CLASSES, "recipe 'lda' needs labeled rows"),
        ({"recipe": "tfidf"}, CLASSES, "recipe 'tfidf' needs labeled rows"),
        ({}, "ab", "expected a list of names"),
        ({"ordered": ["low", "high"]}, ["x", "y"], "give one"),
    ],
)
def test_settings_that_need_labels_or_contradict_the_classes(tiny_backbone, options, classes, told):
    with pytest.raises((RecipeError, CorpusError), match=told):
        Labeler(tiny_backbone, **options).fit(None, CORPUS, classes=classes)


def test_the_first_labels_are_learned_by_the_usual_head(fitted, tmp_path):
    assert Labeler.load(fitted.save(tmp_path / "model")).recipe.name == "head"
