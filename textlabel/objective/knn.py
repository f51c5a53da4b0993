"""Objective ``knn``: shares of classes among the nearest labeled rows by cosine (tune ``head`` only).

A row counts ``exp(cosine / T)``. The strength that is chosen is T; how many neighbors count is chosen beside
it, both by leaving one row out. Rows of equal features are left out together: the answer is no neighbor.
Features are centered, as cosines of what all texts have in common say little.

The model keeps the features and classes of all rows that it learned from. On seven sets such a head was 1.4
(8 labels a class) and 2.7 points (64) less accurate than logistic regression
(recipes/benchmarks/few_labels_heads.py), which is why nothing takes it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from textlabel.models.heads import one_hot, one_thread
from textlabel.models.nonlinear import CHUNK, Neighbors, shares, unit_rows
from textlabel.types import FloatArray, IntArray

NAME = "knn"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})
#: the strength is a temperature, whatever the number of rows
PENALTY = False
#: nothing trains its head further
FINAL = True
#: features of training rows are in its head
KEEPS_ROWS = True
#: numbers of neighbors that are tried
COUNTS = (1, 3, 5, 10, 20, 50)
#: rows that are left out in turn; of more so many spread evenly
LEFT_OUT = 4000


@dataclass(frozen=True)
class Options:
    """The nearest neighbors have no options."""


@one_thread
def fit_linear(
    features: FloatArray,
    targets: IntArray | FloatArray,
    classes: int,
    strengths: Sequence[float],
    options: Options,
) -> list[Neighbors]:
    """Return heads, one a temperature, each with as many neighbors as suit rows that are left out.

    Parameters
    ----------
    targets : (n,) classes, or (n, k) target probabilities: a row then counts a part in several classes.
    """
    soft, center = one_hot(targets, classes), np.asarray(features, np.float64).mean(axis=0)
    rows = unit_rows(features, center)
    losses = _left_out(features, soft, strengths)
    counts = [COUNTS[int(np.argmin(by_count))] for by_count in losses]
    return [Neighbors(rows, soft, center, np.array([k, t])) for k, t in zip(counts, strengths, strict=True)]


@one_thread
def left_out_losses(
    features: FloatArray, targets: IntArray | FloatArray, classes: int, strengths: Sequence[float]
) -> list[float]:
    """Return the mean loss (nats) of rows that are none of their own neighbors, one a temperature."""
    return [min(losses) for losses in _left_out(features, one_hot(targets, classes), strengths)]


def _left_out(features: FloatArray, soft: FloatArray, strengths: Sequence[float]) -> list[list[float]]:
    """Return the mean loss of rows that are left out, for each temperature and number of neighbors."""
    rows = unit_rows(features, np.asarray(features, np.float64).mean(axis=0))
    group = np.unique(np.asarray(features, np.float32), axis=0, return_inverse=True)[1].ravel()
    asked = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), LEFT_OUT)).astype(int))
    totals = np.zeros((len(strengths), len(COUNTS)))
    for some in _chunks(asked):
        cosines = rows[some] @ rows.T
        cosines[group[some][:, None] == group] = -np.inf
        for i, temperature in enumerate(strengths):
            found = shares(cosines, soft, list(COUNTS), temperature)
            totals[i] += [float(-(soft[some] * logs).sum()) for logs in found]
    return [[float(loss) for loss in of_all] for of_all in totals / max(len(asked), 1)]


def _chunks(index: IntArray) -> Iterator[IntArray]:
    return (index[start : start + CHUNK] for start in range(0, len(index), CHUNK))
