"""Label models: what a label is likely to be, by votes of rules that err.

A plugin is a module with ``NAME`` and::

    fit_predict(votes, classes, gold=None) -> Labeled

``votes`` (n, m) are class numbers in [0, classes) or -1 where a rule abstains, ``gold`` (n,) is the class of
the few rows that people labeled and -1 elsewhere. What a model says of a gold row has seen its label, and
`anchored` repeats it: to judge a model, mask the gold of the judged rows (`textlabel.rules.compare`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.rules import ABSTAIN
from textlabel.types import IntArray

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Labeled:
    """What a label model says.

    Parameters
    ----------
    probabilities : (n, k), each row sums to 1.
    learned : what it learned of the rules, JSON-ready.
    """

    probabilities: Floats
    learned: dict[str, Any]


def checked(votes: npt.ArrayLike, classes: int, gold: npt.ArrayLike | None) -> tuple[IntArray, IntArray]:
    """Return votes (n, m) and gold labels (n,), -1 where there is none.

    Raises
    ------
    CorpusError : other shapes, or numbers that are no class.
    """
    v = np.asarray(votes, np.int64)
    if v.ndim != 2 or not v.shape[1] or classes < 2:
        raise CorpusError(f"expected votes (n, m), m >= 1, of two or more classes; got {v.shape}, {classes}")
    g = np.full(len(v), ABSTAIN) if gold is None else np.asarray(gold, np.int64)
    if g.shape != v.shape[:1]:
        raise CorpusError(
            f"expected gold labels of shape {v.shape[:1]}, -1 where there is none; got {g.shape}"
        )
    for name, values in (("votes", v), ("gold", g)):
        if values.size and not (values.min() >= ABSTAIN and values.max() < classes):
            raise CorpusError(
                f"{name} in [{values.min()}, {values.max()}]; expected class numbers below {classes}, or -1"
            )
    return v, g


def counts(votes: IntArray, classes: int) -> Floats:
    """Return how many rules vote for each class, (n, k)."""
    return np.stack([(votes == c).sum(axis=1) for c in range(classes)], axis=1).astype(np.float64)


def class_prior(gold: IntArray, classes: int) -> Floats:
    """Return the shares of classes (k,) in gold, one row added to each; uniform without any."""
    shares = np.bincount(gold[gold >= 0], minlength=classes) + 1.0
    found: Floats = shares / shares.sum()
    return found
