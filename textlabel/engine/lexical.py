"""The no-transfer floor: TF-IDF of character n-grams and a linear head, from the labeled rows alone."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import splittable
from textlabel.models.heads import softmax_regression
from textlabel.types import FloatArray, IntArray

#: lengths of the n-grams, which are taken within words padded by a space on each side
SIZES = (2, 3, 4)
#: penalties tried, in nats per squared weight of a feature of unit length, for one row
STRENGTHS = (1.0, 0.1, 0.01)
FOLDS = 5
#: labeled rows that it is made of at most; its cost grows with their square
MOST_ROWS = 2000


def ngrams(text: str) -> Counter[int]:
    """Return how often each n-gram of a text occurs, by its hash.

    Examples
    --------
    >>> sum(ngrams("Ab").values())  # " a", "ab", "b ", " ab", "ab ", " ab "
    6
    """
    found: Counter[int] = Counter()
    for word in text.lower().split():
        padded = f" {word} "
        for size in SIZES:
            found.update(
                zlib.crc32(padded[i : i + size].encode()) for i in range(max(len(padded) - size + 1, 1))
            )
            if len(padded) <= size:
                break  # a longer n-gram would be the same again
    return found


def tf_idf(texts: Sequence[str], known: IntArray) -> Any:
    """Return rows of unit length (n, v), sparse, of the n-grams and frequencies of the texts ``known``.

    Term frequencies are ``1 + log tf``; n-grams that only other texts have are not looked at.
    """
    from scipy.sparse import csr_matrix, diags

    counts = [ngrams(text) for text in texts]
    frequency: Counter[int] = Counter()
    for row in known.tolist():
        frequency.update(counts[row].keys())
    column = {term: i for i, term in enumerate(frequency)}
    rows, columns, values = [], [], []
    for number, count in enumerate(counts):
        for term, times in count.items():
            if term in column:
                rows.append(number)
                columns.append(column[term])
                values.append(1 + np.log(times))
    matrix = csr_matrix((values, (rows, columns)), (len(texts), len(column)))
    idf = np.log((1 + len(known)) / (1 + np.array(list(frequency.values())))) + 1
    matrix = matrix @ diags(idf)
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return diags(1 / np.maximum(length, 1e-12)) @ matrix


def floor_logits(
    texts: Sequence[str], targets: IntArray, groups: IntArray, classes: int, seed: int
) -> FloatArray:
    """Return logits (n, k) of labeled rows by heads that lack the row's fold; 0 where a class has one text.

    The penalty is that with the least loss on the same rows, which flatters the floor a little.
    """
    found = [np.zeros((len(texts), classes)) for _ in STRENGTHS]
    judged = np.flatnonzero(splittable(targets, groups))
    if not len(judged):
        return found[0]
    fold = np.full(len(texts), -1)
    count = max(min(FOLDS, len(np.unique(groups[judged]))), 2)
    fold[judged] = make_folds(targets[judged], groups[judged], count, seed)
    for k in range(count):
        known, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        matrix = tf_idf(texts, known)
        # the solution lies in the span of the rows (the representer theorem): n coordinates are enough
        products = np.asarray((matrix @ matrix[known].T).todense())
        values, vectors = np.linalg.eigh(products[known])
        keep = values > 1e-9 * values.max()
        coordinates = products @ (vectors[:, keep] / np.sqrt(values[keep]))
        soft, weight = np.eye(classes)[targets[known]], np.ones(len(known))
        strengths = [l2 / len(known) for l2 in STRENGTHS]
        heads = softmax_regression(coordinates[known], soft, weight, strengths, standardize=False)
        for logits, head in zip(found, heads, strict=True):
            logits[held] = head(coordinates[held])
    return min(found, key=lambda logits: _loss(logits[judged], targets[judged]))


def _loss(logits: FloatArray, targets: IntArray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]).mean())
