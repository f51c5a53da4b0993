"""No transfer: TF-IDF of character n-grams and a linear head, from the labeled texts alone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import splittable
from textlabel.models.classifier import Classifier
from textlabel.models.heads import Linear, softmax_regression
from textlabel.models.ngrams import backbone_of, ngrams
from textlabel.types import FloatArray, IntArray, LabelSchema

log = logging.getLogger("textlabel")

#: penalties tried, in nats per squared weight of a feature of unit length, for one row
STRENGTHS = (1.0, 0.1, 0.01)
FOLDS = 5
#: labeled rows that it learns from at most; its cost grows with their square, and its memory
MOST_ROWS = 2000


class TfIdf(NamedTuple):
    """Rows of unit length (n, v), sparse, and the n-grams (v,) of their columns with their weights (v,)."""

    rows: Any
    ngrams: IntArray
    idf: FloatArray


class FloorFit(NamedTuple):
    """Logits (n, k) of labeled rows by heads that lack the row's fold, and the penalty that suits best."""

    logits: FloatArray
    strength: float


def tf_idf(sets: Sequence[Sequence[int]], known: IntArray) -> TfIdf:
    """Return TF-IDF of texts, given as their n-grams, by the n-grams and frequencies of the texts ``known``.

    An n-gram is in a text or not, however often. Those that only other texts have are not looked at.
    """
    from scipy.sparse import csr_matrix, diags

    frequency: Counter[int] = Counter()
    for row in known.tolist():
        frequency.update(sets[row])
    terms = sorted(frequency)
    column = {term: i for i, term in enumerate(terms)}
    found = [[column[term] for term in row if term in column] for row in sets]
    ends = np.cumsum([0, *map(len, found)])
    columns = np.concatenate([np.array(row, dtype=np.int64) for row in found])
    idf = np.log((1 + len(known)) / (1 + np.array([frequency[term] for term in terms]))) + 1
    matrix = csr_matrix((idf[columns], columns, ends), (len(sets), len(terms)))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return TfIdf(diags(1 / np.maximum(length, 1e-12)) @ matrix, np.array(terms, dtype=np.int64), idf)


def floor_fit(texts: Sequence[str], targets: IntArray, groups: IntArray, classes: int, seed: int) -> FloorFit:
    """Return what heads say of rows that they did not train on; 0 where a class has one text.

    The penalty is that with the least loss on the same rows, which flatters it a little.
    """
    found = [np.zeros((len(texts), classes)) for _ in STRENGTHS]
    judged = np.flatnonzero(splittable(targets, groups))
    if not len(judged):
        return FloorFit(found[0], STRENGTHS[0])
    fold = np.full(len(texts), -1)
    count = max(min(FOLDS, len(np.unique(groups[judged]))), 2)
    fold[judged] = make_folds(targets[judged], groups[judged], count, seed)
    sets = [ngrams(text) for text in texts]
    for k in range(count):
        known, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        rows = tf_idf(sets, known).rows
        heads = _heads(rows[known], targets[known], classes, STRENGTHS)
        for logits, (weight, bias) in zip(found, heads, strict=True):
            logits[held] = rows[held] @ weight.T + bias
    losses = [_loss(logits[judged], targets[judged]) for logits in found]
    best = int(np.argmin(losses))
    return FloorFit(found[best], STRENGTHS[best])


def lexical_classifier(
    texts: Sequence[str], targets: IntArray, groups: IntArray, schema: LabelSchema, seed: int
) -> Classifier:
    """Return a classifier of n-grams whose features are what each class gains by them.

    Parameters
    ----------
    groups : (n,) equal where texts are equal; such rows share a fold when the penalty is chosen.
    """
    if len(texts) > MOST_ROWS:
        log.warning("TF-IDF learns from %d of %d rows, drawn at random", MOST_ROWS, len(texts))
        some = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MOST_ROWS])
        texts, targets, groups = [texts[i] for i in some], targets[some], groups[some]
    strength = floor_fit(texts, targets, groups, schema.outputs, seed).strength
    found = tf_idf([ngrams(text) for text in texts], np.arange(len(texts)))
    [(weight, bias)] = _heads(found.rows, targets, schema.outputs, (strength,))
    classifier = Classifier(backbone_of(found.ngrams, found.idf, weight.T), schema)
    classifier.set_head(Linear(np.eye(schema.outputs), bias))
    classifier.body_changed = True
    return classifier.eval()


def _heads(
    rows: Any, targets: IntArray, classes: int, strengths: Sequence[float]
) -> list[tuple[FloatArray, FloatArray]]:
    """Return weights (k, v) and biases (k,) of softmax heads on sparse rows (n, v), one a strength."""
    # the solution lies in the span of the rows (the representer theorem): n coordinates are enough
    values, vectors = np.linalg.eigh(np.asarray((rows @ rows.T).todense()))
    keep = values > 1e-9 * values.max()
    basis, scale = vectors[:, keep], np.sqrt(values[keep])
    soft, count = np.eye(classes)[targets], len(targets)
    scaled = [l2 / count for l2 in strengths]
    heads = softmax_regression(basis * scale, soft, np.ones(count), scaled, standardize=False)
    return [(np.asarray((rows.T @ ((basis / scale) @ head.weight.T)).T), head.bias) for head in heads]


def _loss(logits: FloatArray, targets: IntArray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]).mean())
