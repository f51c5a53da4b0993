"""Asking row after row, replayed on rows whose labels are known: what each strategy would have brought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from textlabel.ask import Pool, propose
from textlabel.ask.stopping.certificate import predicted_share
from textlabel.corpus.split import splittable
from textlabel.engine.head import fit_head
from textlabel.models.heads import Linear
from textlabel.recipe import Stage
from textlabel.trust.calibration import softmax
from textlabel.types import FloatArray, IntArray

#: head that is fitted after each round: one strength, so that a replay of hundreds takes minutes
STAGE: dict[str, Any] = {"name": "head", "l2": 0.03, "folds": 3}


class Curve(NamedTuple):
    """What came of one replay.

    While only one class is known, accuracy is that of whoever always says it, and the model labels nothing:
    so all strategies are compared from the first round on.

    Parameters
    ----------
    labeled : (r,) rows labeled after each round.
    accuracy : (r,) share right of unseen rows.
    share : (r,) of the rows that the model may label at the error that is asked, by its own confidence.
    """

    labeled: list[int]
    accuracy: list[float]
    share: list[float]

    @property
    def area(self) -> float:
        """Mean accuracy over the labels, from the first round to the last (area under the curve)."""
        x, y = np.array(self.labeled, float), np.array(self.accuracy)
        if len(x) < 2:
            return float(y.mean())
        return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def replay(
    features: FloatArray,
    labels: IntArray,
    groups: IntArray,
    test: tuple[FloatArray, IntArray],
    strategy: str,
    *,
    budget: int,
    batch: int,
    seed: int,
    max_error: float = 0.05,
) -> Curve:
    """Return the curve of one strategy.

    Parameters
    ----------
    features, labels, groups : (n, d), (n,) and (n,) of the rows that may be asked; a label is looked at only
        when its row was proposed.
    test : features and labels of rows that nothing else reads.
    budget, batch : rows asked in all, and in each round.
    """
    k = int(max(labels.max(), test[1].max())) + 1
    known = np.full(len(labels), -1)
    probabilities = votes = None
    curve = Curve([], [], [])
    for number in range(-(-budget // batch)):
        pool = Pool(features, known, k, probabilities, votes, groups.astype(np.int64))
        count = min(batch, budget - int((known >= 0).sum()))
        asked = propose(pool, count, strategy, seed * 1000 + number)
        known[asked] = labels[asked]
        fitted = heads(features, known, groups, k, seed)
        curve.labeled.append(int((known >= 0).sum()))
        if fitted is None:
            curve.accuracy.append(float(np.mean(test[1] == known.max())))
            curve.share.append(0.0)
            continue
        probabilities, votes = fitted.probabilities(features), fitted.votes(features)
        said = fitted.probabilities(test[0])
        curve.accuracy.append(float(np.mean(said.argmax(axis=1) == test[1])))
        curve.share.append(predicted_share(said, max_error))
    return curve


class Heads(NamedTuple):
    """The head of the labeled rows, and those of its folds."""

    head: Linear
    members: Sequence[Linear]

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Return what the head says (n, k)."""
        return softmax(self.head(features))

    def votes(self, features: FloatArray) -> FloatArray | None:
        """Return what the heads of the folds say (m, n, k); None: there are no folds."""
        return np.stack([softmax(one(features)) for one in self.members]) if self.members else None


def heads(features: FloatArray, known: IntArray, groups: IntArray, k: int, seed: int) -> Heads | None:
    """Return the heads of the labeled rows; None while only one class is known."""
    rows = np.flatnonzero(known >= 0)
    y = known[rows]
    if len(np.unique(y)) < 2:
        return None
    fit = fit_head(features[rows], y, groups[rows], k, Stage.of(STAGE, "cross_entropy"), seed)
    members = fit.members if splittable(y, groups[rows]).any() else []
    assert isinstance(fit.head, Linear)
    return Heads(fit.head, [one for one in members if isinstance(one, Linear)])
