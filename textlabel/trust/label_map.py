"""Label maps: what the classes of one label set are in the words of another. numpy only.

A classifier of source classes z gives a row the probabilities ``p(z)``; with a map ``P(y | z)`` of target
classes y the row has ``sum_z P(y | z) p(z)`` (Nguyen 2020, arXiv 2002.12462, whose score of it is
`textlabel.trust.transferability.leep`). A source class without a known counterpart is *unmapped*. Its line
stays the mixture that was learned, drawn toward the uniform one until no target class has more than `CAP`;
where nothing was learned it is uniform. A row whose mass u lies on such classes is then at most
``1 - u (1 - CAP)`` sure of any target class: it is for review, and not quietly accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, RecipeError, nearest
from textlabel.label_tree import LabelTree
from textlabel.trust.reliability import wilson

Floats = npt.NDArray[np.float64]

#: what a source class becomes: a mixture (leep), the one likeliest class (many_to_one), or one that no other
#: source class becomes (one_to_one)
MODES = ("leep", "many_to_one", "one_to_one")
#: pseudo-count of a source class, spread evenly over the target classes (Dirichlet): one that no row bears is
#: uniform, not 0/0. Half a row in all, whatever the number of classes: more would drown out few rows
SMOOTHING = 0.5
#: a source class of which not more than this share is of one target class has no counterpart
LEAST = 0.5
#: of the interval (two standard errors) whose low end must be more, where a source class becomes one class
LEVEL = 0.9545
#: most that a source class without a known counterpart says of one target class: enough to tell which is the
#: likeliest of two, and not enough to be accepted
CAP = 0.51
_ROUNDING = 1e-9


@dataclass(frozen=True)
class LabelMap:
    """``P(y | z)``, and which source classes have a counterpart.

    Parameters
    ----------
    given : (z, k) probabilities of the target classes for each source class; rows sum to 1.
    mapped : (z,) False: no counterpart is known, the row of ``given`` has nothing above `CAP`.
    mass : (z,) of how many labeled rows each line was learned: the summed probability of the source class.
    """

    given: Floats
    mapped: npt.NDArray[np.bool_]
    mass: Floats

    def apply(self, probabilities: npt.ArrayLike) -> Floats:
        """Return probabilities (n, k) of the target classes for those (n, z) of the source classes."""
        found: Floats = np.asarray(probabilities, np.float64) @ self.given
        return found

    def table(self, source: Sequence[str], target: Sequence[str]) -> list[dict[str, Any]]:
        """Return a line for each source class: what it became, how surely, and of how many rows' mass."""
        best = self.given.argmax(axis=1)
        return [
            {
                "source": name,
                "target": target[best[z]] if self.mapped[z] else None,
                "probability": round(float(self.given[z, best[z]]), 4) if self.mapped[z] else None,
                "rows": round(float(self.mass[z]), 2),
            }
            for z, name in enumerate(source)
        ]

    def unreached(self, target: Sequence[str]) -> list[str]:
        """Return the target classes that are the likeliest of no mapped source class."""
        reached = set(self.given[self.mapped].argmax(axis=1).tolist())
        return [name for y, name in enumerate(target) if y not in reached]


def learn_map(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike, classes: int, mode: str = "leep"
) -> LabelMap:
    """Return the map that rows labeled with target classes tell of a source classifier.

    With ``N(y, z) = sum_i 1[y_i = y] p_i(z)``, ``P(y | z)`` is N plus `SMOOTHING` / k, over its sum by z. In
    "leep" a source class is unmapped where no P(y | z) is above `LEAST`. "many_to_one" keeps the likeliest y
    alone, and "one_to_one" the pairs of the largest total N (Hungarian method); as they make one class of
    what may be a coin's toss, they ask for more: the low end of Wilson's interval of y's share in z, of level
    `LEVEL`, must be above `LEAST`, or the source class is unmapped, as is one that is left over. Of rows that
    agree five are needed. It may have a counterpart that so few rows do not tell (``mass``).

    Parameters
    ----------
    probabilities : (n, z) of the source classes, rows sum to 1.
    labels : (n,) numbers of target classes in [0, classes).
    mode : one of `MODES`.

    Raises
    ------
    RecipeError : no such mode.
    CorpusError : no rows, shapes that do not agree, rows that are no probabilities, or a label out of range.

    Examples
    --------
    >>> source = np.repeat(np.eye(3), 6, axis=0)
    >>> found = learn_map(source, [1] * 6 + [0] * 6 + [0, 1] * 3, 2, "many_to_one")
    >>> found.given.tolist(), found.mapped.tolist()
    ([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], [True, True, False])
    """
    if mode not in MODES:
        raise RecipeError(f"mode = {mode!r}: {nearest(mode, MODES)}")
    counts = _counts(probabilities, labels, classes)
    smoothed = counts + SMOOTHING / classes
    given = smoothed / smoothed.sum(axis=1, keepdims=True)
    if mode == "leep":
        return LabelMap(given, given.max(axis=1) > LEAST + _ROUNDING, counts.sum(axis=1))
    if mode == "one_to_one":
        return _paired(counts, given)
    mapped = _sure(counts[np.arange(len(counts)), given.argmax(axis=1)], counts)
    return _made(np.eye(classes)[given.argmax(axis=1)], mapped, counts.sum(axis=1), given)


def _sure(held: Floats, counts: Floats) -> npt.NDArray[np.bool_]:
    """Return (z,) whether what a target class holds of each row of counts is surely above `LEAST` of it.

    Wald's interval, share less two standard errors, is no use here: where all rows agree it has no width.
    """
    mass = np.maximum(counts.sum(axis=1), _ROUNDING)
    low, _ = wilson(np.minimum(held / mass, 1.0), mass, LEVEL)
    found: npt.NDArray[np.bool_] = low > LEAST + _ROUNDING
    return found


def _counts(probabilities: npt.NDArray[np.floating[Any]], labels: npt.ArrayLike, classes: int) -> Floats:
    """Return N (z, k)."""
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y):
        raise CorpusError(f"expected probabilities (n, z) and labels (n,), n >= 1; got {p.shape}, {y.shape}")
    if not (p >= 0).all() or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise CorpusError("expected rows of probabilities that sum to 1; give softmax(logits), not logits")
    if y.min() < 0 or y.max() >= classes:
        raise CorpusError(f"expected labels in [0, {classes}), got {y.min()} to {y.max()}")
    found: Floats = p.T @ np.eye(classes)[y]
    return found


def _paired(counts: Floats, given: Floats) -> LabelMap:
    """Return the map of the pairs of classes that hold the most mass."""
    from scipy.optimize import linear_sum_assignment

    source, target = linear_sum_assignment(counts, maximize=True)
    mapped = np.zeros(len(counts), np.bool_)
    mapped[source] = _sure(counts[source, target], counts[source])
    paired = np.zeros_like(counts)
    paired[source, target] = 1.0
    return _made(paired, mapped, counts.sum(axis=1), given)


def stated_map(
    stated: Mapping[str, str | None],
    source: Sequence[str],
    target: Sequence[str],
    tree: LabelTree | None = None,
) -> LabelMap:
    """Return the map that somebody wrote down: {source class: target class, or None}.

    With a label tree over the target classes a source class may also become an inner node: it is then split
    evenly among the classes below the node, for nothing else is known of their shares.

    Raises
    ------
    CorpusError : a source class that is missing or unknown, or a target that is neither class nor node.

    Examples
    --------
    >>> stated_map({"joy": "good", "anger": "bad", "noise": None}, ("anger", "joy", "noise"), ("bad", "good"))
    ... # doctest: +ELLIPSIS
    LabelMap(given=array([[1. , 0. ],
           [0. , 1. ],
           [0.5, 0.5]]), mapped=array([ True,  True, False]), mass=array([0., 0., 0.]))
    """
    if unknown := sorted(set(stated) - set(source)):
        raise CorpusError(f"label map: unknown source class {unknown[0]!r}: {nearest(unknown[0], source)}")
    if missing := [name for name in source if name not in stated]:
        raise CorpusError(
            f"label map: nothing is said of source class {missing[0]!r}; give its target class, "
            "or null if it has none"
        )
    shares = dict(zip(target, np.eye(len(target)), strict=True))
    if tree is not None:
        columns = [tree.classes.index(name) for name in target]
        below = {name: tree.members[tree.nodes.index(name), columns] for name in tree.inner}
        shares |= {name: members / members.sum() for name, members in below.items()}
    for name, goal in stated.items():
        if goal is not None and not isinstance(goal, str):
            raise CorpusError(
                f"label map: {name!r} becomes {goal!r}; expected the name of one class or node, or null"
            )
        if goal is not None and goal not in shares:
            raise CorpusError(f"label map: {name!r} becomes {goal!r}: {nearest(str(goal), list(shares))}")
    uniform = np.full(len(target), 1 / len(target))
    goals = [stated[name] for name in source]
    given = np.array([uniform if goal is None else shares[goal] for goal in goals])
    return _made(given, np.array([goal is not None for goal in goals]), np.zeros(len(source)))


def _made(
    given: Floats, mapped: npt.NDArray[np.bool_], mass: Floats, learned: Floats | None = None
) -> LabelMap:
    """Return the map; where a source class has no known counterpart, what was learned of it, capped."""
    k = given.shape[1]
    unsure = np.full_like(given, 1 / k)
    if learned is not None:
        off = learned - 1 / k
        unsure += off * np.minimum(1, (CAP - 1 / k) / np.maximum(off.max(axis=1, keepdims=True), 1e-12))
    return LabelMap(np.where(mapped[:, None], given, unsure), mapped, mass)
