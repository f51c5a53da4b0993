"""Which rows are worth a person's answer: strategies, one file each, and when to stop. numpy only.

A strategy has ``NAME``, ``NEEDS`` (of "probabilities" and "votes"; without any it can begin before the
first label) and ``propose(pool, count, rng)``, which returns row numbers, the most wanted first, none of
them labeled and no two of one text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.errors import CorpusError, RecipeError

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

DEFAULT_STRATEGY = "typical_then_margin"


@dataclass(frozen=True)
class Pool:
    """All rows, labeled or not, as a model sees them now.

    Parameters
    ----------
    features : (n, d).
    labels : (n,) class numbers, -1 where nobody has answered.
    classes : k.
    probabilities : (n, k) of the model, or None: there is none yet.
    votes : (m, n, k) probabilities by m models of other rows or features; None: there are none.
    groups : (n,) equal where texts are equal; None: all differ.
    closed : (n,) bool, rows that are not asked again though they have no label, as nobody could tell it;
        None: there are none.
    """

    features: Floats
    labels: Ints
    classes: int
    probabilities: Floats | None = None
    votes: Floats | None = None
    groups: Ints | None = None
    closed: npt.NDArray[np.bool_] | None = None

    @property
    def labeled(self) -> Ints:
        """Numbers of the labeled rows."""
        return np.flatnonzero(self.labels >= 0)

    def open(self) -> Ints:
        """Return the numbers of rows that may be asked: the first of each text that nobody has answered."""
        done = self.labels >= 0 if self.closed is None else (self.labels >= 0) | self.closed
        if self.groups is None:
            return np.flatnonzero(~done)
        first = np.unique(self.groups, return_index=True)[1]
        known = np.unique(self.groups[done])
        return np.sort(first[~np.isin(self.groups[first], known)]).astype(np.int64)

    def said(self) -> Floats:
        """Return the probabilities (n, k); a `RecipeError` where there is no model yet."""
        if self.probabilities is None:
            raise RecipeError("this strategy asks a model, and there is none yet: begin with another")
        return self.probabilities


def propose(pool: Pool, count: int, strategy: str = DEFAULT_STRATEGY, seed: int = 0) -> Ints:
    """Return the numbers (m,) of at most ``count`` rows to ask, the most wanted first.

    Parameters
    ----------
    strategy : plugin (`textlabel plugins strategy`), or "skactiveml:NAME" (`pip install scikit-activeml`;
        `textlabel.ask.scikit_activeml`). Where it needs a model and there is none,
        `textlabel.ask.strategies.typiclust` begins.

    Raises
    ------
    RecipeError : fewer than one row wanted.
    CorpusError : no row is left, or arrays that do not fit.

    Examples
    --------
    >>> pool = Pool(np.eye(4), np.array([-1, 0, -1, -1]), 2, np.full((4, 2), 0.5))
    >>> sorted(propose(pool, 2, "random").tolist()) in ([0, 2], [0, 3], [2, 3])
    True
    """
    if count < 1:
        raise RecipeError(f"expected 1 row or more to propose, got {count}")
    n = len(pool.features)
    for name, array, at in (("labels", pool.labels, 0), ("probabilities", pool.probabilities, 0)):
        if array is not None and array.shape[at] != n:
            raise CorpusError(f"{name}: expected one entry a row, {n}; got {array.shape[at]}")
    left = len(pool.open())
    if not left:
        raise CorpusError("there is no row left to ask: all texts have an answer")
    module = load_strategy(strategy)
    if any(getattr(pool, name) is None for name in module.NEEDS):
        module = registry.load("strategy", "typiclust")
    found: Ints = module.propose(pool, min(count, left), np.random.default_rng(seed))
    return found


def load_strategy(name: str) -> Any:
    """Return a strategy: a plugin (`textlabel plugins strategy`), or one of scikit-activeml's.

    Raises
    ------
    RecipeError : there is none of that name.
    """
    if name.startswith("skactiveml:"):
        from textlabel.ask.scikit_activeml import wrapped

        return wrapped(name.partition(":")[2])
    return registry.load("strategy", name)


def some_of(rows: Ints, most: int, rng: np.random.Generator) -> Ints:
    """Return at most ``most`` of the rows, drawn at random, ascending."""
    return rows if len(rows) <= most else np.sort(rng.permutation(rows)[:most])


def unit(features: Floats) -> npt.NDArray[np.float32]:
    """Return rows of length 1, in float32."""
    rows = np.asarray(features, np.float32)
    found: npt.NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def lowest(scores: Floats, rows: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Return ``count`` of the rows with the lowest scores (len(rows),); ties fall at random."""
    order = rng.permutation(len(rows))
    return rows[order[np.argsort(scores[order], kind="stable")][:count]]


def margins(probabilities: Floats) -> Floats:
    """Return by how much the likeliest class of each row (n,) leads the second.

    Examples
    --------
    >>> margins(np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])).tolist()
    [0.25, 1.0]
    """
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


__all__ = [
    "DEFAULT_STRATEGY",
    "Floats",
    "Ints",
    "Pool",
    "load_strategy",
    "lowest",
    "margins",
    "propose",
    "some_of",
    "unit",
]
