"""The no-transfer floor against scikit-learn's TF-IDF."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from tiny import snippets

from textlabel.engine.lexical import floor_logits, tf_idf

TEXTS = [row["text"] for row in snippets(60)]


def test_rows_are_those_of_scikit_learn():
    peer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(TEXTS[:40])
    found = tf_idf(TEXTS, np.arange(40))
    expected = peer.transform(TEXTS)
    np.testing.assert_allclose((found @ found.T).toarray(), (expected @ expected.T).toarray(), atol=1e-9)


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_the_floor_learns_from_labels_alone(language):
    words = ["good fine great", "bad poor awful"] if language == "english" else ["很好 喜欢", "糟糕 失望"]
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    texts = [" ".join(rng.permutation(words[k].split())) + f" {rng.integers(1000)}" for k in y]
    logits = floor_logits(texts, y, np.arange(40), 2, 0)
    assert np.mean(logits.argmax(axis=1) == y) == 1


def test_random_labels_are_not_learned():
    y = np.random.default_rng(0).permutation(np.arange(60) % 2)
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    assert np.mean(floor_logits(texts, y, np.arange(60), 2, 0).argmax(axis=1) == y) < 0.7


def test_as_good_as_scikit_learn():
    texts = [row["text"] for row in snippets(60)]
    y = np.array([row["label"] == "positive" for row in snippets(60)]).astype(int)
    x = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    peer = cross_val_score(make_pipeline(x, LogisticRegression(C=10)), texts, y, cv=StratifiedKFold(5)).mean()
    assert peer > 0.8
    assert np.mean(floor_logits(texts, y, np.arange(60), 2, 0).argmax(axis=1) == y) > peer - 0.1
