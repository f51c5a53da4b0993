"""TF-IDF of n-grams against scikit-learn's, and the classifier that is made of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from tiny import snippets
from typer.testing import CliRunner

from textlabel import Labeler
from textlabel.cli.app import app
from textlabel.engine import lexical
from textlabel.engine.lexical import floor_fit, lexical_classifier, tf_idf
from textlabel.engine.predict import predict
from textlabel.errors import RecipeError
from textlabel.models.bundle import Bundle
from textlabel.models.ngrams import ngrams
from textlabel.recipe import Recipe
from textlabel.types import LabelSchema

SCHEMA = LabelSchema("single", ("negative", "positive"))
TEXTS = [row["text"] for row in snippets(60)]
LABELS = np.array([SCHEMA.index(row["label"]) for row in snippets(60)])


def peer():
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), binary=True)


def test_rows_are_those_of_scikit_learn():
    expected = peer().fit(TEXTS[:40]).transform(TEXTS)
    found = tf_idf([ngrams(text) for text in TEXTS], np.arange(40)).rows
    np.testing.assert_allclose((found @ found.T).toarray(), (expected @ expected.T).toarray(), atol=1e-9)


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_the_floor_learns_from_labels_alone(language):
    words = ["good fine great", "bad poor awful"] if language == "english" else ["很好 喜欢", "糟糕 失望"]
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    texts = [" ".join(rng.permutation(words[k].split())) + f" {rng.integers(1000)}" for k in y]
    logits = floor_fit(texts, y, np.arange(40), 2, 0).logits
    assert np.mean(logits.argmax(axis=1) == y) == 1


def test_random_labels_are_not_learned():
    y = np.random.default_rng(0).permutation(np.arange(60) % 2)
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    assert np.mean(floor_fit(texts, y, np.arange(60), 2, 0).logits.argmax(axis=1) == y) < 0.7


def test_as_good_as_scikit_learn():
    folds = StratifiedKFold(5)
    expected = cross_val_score(
        make_pipeline(peer(), LogisticRegression(C=10)), TEXTS, LABELS, cv=folds
    ).mean()
    assert expected > 0.8
    found = floor_fit(TEXTS, LABELS, np.arange(60), 2, 0).logits.argmax(axis=1)
    assert np.mean(found == LABELS) > expected - 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_the_classifier_says_what_scikit_learn_says(classes):
    """Its features go through a body of torch, n-gram by n-gram, and unknown ones count for nothing."""
    y = np.arange(40) % 3 if classes == 3 else LABELS[:40]
    schema = LabelSchema("single", ("negative", "positive", "neither")[:classes])
    strength = floor_fit(TEXTS[:40], y, np.arange(40), classes, 0).strength
    vectors = peer().fit(TEXTS[:40])
    # two symmetric vectors of weights make a penalty half of that of their difference
    penalty = 1 / strength if classes == 3 else 2 / strength
    head = LogisticRegression(C=penalty, tol=1e-8, max_iter=5000).fit(vectors.transform(TEXTS[:40]), y)
    others = [*TEXTS[40:], "zzzz qqqq", "?"]
    expected = head.predict_proba(vectors.transform(others))
    logits, features = predict(lexical_classifier(TEXTS[:40], y, np.arange(40), schema, 0), others)
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert not features[-2:].any()


def test_more_rows_than_it_learns_from(monkeypatch, caplog):
    monkeypatch.setattr(lexical, "MOST_ROWS", 30)
    found = lexical_classifier(TEXTS, LABELS, np.arange(60), SCHEMA, 0)
    assert "30 of 60 rows" in caplog.text
    assert np.mean(predict(found, TEXTS)[0].argmax(axis=1) == LABELS) > 0.8


def test_a_model_of_it_is_saved_calibrated_and_loaded(tmp_path):
    labeler = Labeler("no such backbone is asked for", recipe="tfidf").fit(snippets(60))
    before = labeler.annotate(snippets(20, seed=3))
    path = labeler.save(tmp_path / "model")
    after = Labeler.load(path).annotate(snippets(20, seed=3))
    assert before["probabilities"] == after["probabilities"]
    assert np.mean([p == r["label"] for p, r in zip(_names(after), snippets(20, seed=3), strict=True)]) > 0.7
    bundle = Bundle.load(path)
    assert bundle.classifier.info.name == "tf-idf"
    assert bundle.record["labels"]["calibration"] == "folds (5)"
    assert {p.suffix for p in path.rglob("*") if p.is_file()} <= {".json", ".safetensors", ".md"}
    assert "can be guessed from it" in (path / "README.md").read_text()


def _names(rows):
    return rows.features["label"].int2str(rows["label"][:])


@pytest.mark.parametrize(
    "change",
    [
        {"features": "n-grams"},
        {"stage": [{"tune": "lora", "objective": "cross_entropy"}]},
        {"stage": [{"tune": {"name": "head", "l2": 1.0}, "objective": "cross_entropy"}]},
        {"stage": [{"tune": "head", "objective": "cross_entropy"}] * 2},
    ],
)
def test_recipes_that_make_no_sense_of_ngrams(change):
    with pytest.raises(RecipeError, match="ngrams"):
        Recipe.from_dict({**Recipe.load("tfidf").to_dict(), **change})


def test_labels_that_may_be_wrong_are_not_for_it():
    with pytest.raises(RecipeError, match="has none"):
        Labeler(recipe="tfidf", noisy_labels="prune").fit(snippets(20))


def test_few_texts_make_few_folds():
    rows = [
        {"text": text, "label": label} for text, label in [("good", 1), ("bad", 0), ("fine", 1), ("poor", 0)]
    ]
    labeler = Labeler(recipe="tfidf").fit(rows)
    assert labeler.record()["labels"]["calibration"] == "folds (4)"


def test_what_is_said_of_a_backbone_is_told_to_be_ignored(caplog):
    Labeler(recipe="tfidf", max_length=32).fit(snippets(20))
    assert "reads no backbone" in caplog.text


def test_a_loaded_model_is_fitted_again(tmp_path, caplog):
    Labeler(recipe="tfidf").fit(snippets(20)).save(tmp_path / "model")
    again = Labeler.load(tmp_path / "model").fit(snippets(40))
    assert again.record()["labels"]["train"] == 40
    assert "reads no backbone" not in caplog.text


def test_forgetting_rows_tells_what_stays(caplog):
    Labeler(recipe="tfidf").fit(snippets(20)).forget_rows()
    assert "pieces of two to four letters" in caplog.text


def test_the_command_says_nothing_of_a_backbone_that_nobody_named(tmp_path):
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in snippets(20)))
    words = ["fit", str(tmp_path / "train.jsonl"), "--recipe", "tfidf", "--out", str(tmp_path / "model")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert "reads no backbone" not in done.output
    assert "reads no backbone" in CliRunner().invoke(app, [*words, "--layers", "2"]).output
