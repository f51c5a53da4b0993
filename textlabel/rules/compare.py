"""Label models beside the majority, on gold rows whose label they were not told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.rules.models import Floats, checked
from textlabel.trust.paired import Difference, paired_difference
from textlabel.types import IntArray

#: how often gold is divided, each part labeled by what the others teach
FOLDS = 5
MAJORITY = "majority"


def unseen_gold(model: str, votes: npt.ArrayLike, classes: int, gold: npt.ArrayLike, seed: int = 0) -> Floats:
    """Return probabilities (g, k) of the gold rows, in their order, each made without its own label.

    Parameters
    ----------
    model : plugin (`textlabel plugins label_model`).
    """
    v, g = checked(votes, classes, gold)
    known = np.flatnonzero(g >= 0)
    fold = np.empty(len(known), np.int64)
    fold[_shuffled_by_class(g[known], seed)] = np.arange(len(known)) % FOLDS
    plugin, found = registry.load("label_model", model), np.zeros((len(known), classes))
    for part in np.unique(fold):
        masked = g.copy()
        masked[known[fold == part]] = -1
        found[fold == part] = plugin.fit_predict(v, classes, masked).probabilities[known[fold == part]]
    return found


def beside_majority(own: Floats, majority: Floats, labels: IntArray) -> Difference:
    """Return how much more often a label model is right than the majority, on gold rows that it did not see.

    What folds teach each other makes the limits a little too narrow: rows are not quite independent then.

    Parameters
    ----------
    own, majority : (g, k) what `unseen_gold` gives of each.

    Raises
    ------
    CorpusError : there is no gold row.
    """
    return paired_difference(own.argmax(axis=1) == labels, majority.argmax(axis=1) == labels)


def verdict(model: str, found: Difference) -> str:
    """Return a sentence on whether a label model beats the majority.

    Examples
    --------
    >>> verdict("anchored", Difference(0.0, -0.1, 0.1, 2, 2, 50))
    'anchored does not beat the majority on 50 gold rows (right where the other is wrong: 2 against 2)'
    """
    beats = "beats" if found.low > 0 else "does not beat"
    return (
        f"{model} {beats} the majority on {found.rows} gold rows (right where the other is wrong: "
        f"{found.better} against {found.worse})"
    )


def _shuffled_by_class(labels: IntArray, seed: int) -> Sequence[int]:
    """Return rows in random order, class by class, so that folds share out each class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return [int(i) for i in order[np.argsort(labels[order], kind="stable")]]
