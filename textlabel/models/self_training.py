"""Self-training of a head: it learns from unlabeled rows what it says of them itself, in rounds.

In each round a teacher labels the unlabeled rows, a share of them that grows from round to round is chosen,
and a student is fitted on these beside the labeled rows; the student is the next teacher. Which are chosen
decides what it does to classes:

- "balanced" takes as many of every class (in the manner of class-balanced self-training, Zou et al. 2018,
  arXiv 1810.07911), "prior" as many as stated shares say, or those of the labeled rows. Where the classes of
  the unlabeled rows have these shares this helps most, and where they do not it labels rows wrongly until the
  shares are met. Students keep the shares: a class wins as many rows as it is to have.
- "uncertain" takes of each class the rows on which heads of the folds disagree least before the first round,
  by the information that their vote would give (BALD), and counts each by its certainty (in the manner of
  UST, Mukherjee and Awadallah 2020, arXiv 2006.15315, which draws dropout masks where here are folds). It
  assumes no shares: of each class it takes the same part of the rows that are said to be of it.

A solved head has nothing that a student could begin from. What a round passes on is its labels alone: with
``restart`` each round labels all rows anew, without it a row keeps the label that it was first chosen with,
right or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from textlabel.models.heads import Linear
from textlabel.models.propagation import shift_to
from textlabel.types import FloatArray, IntArray

#: how rows are chosen; "" is no self-training
SELECTIONS = ("", "balanced", "prior", "uncertain")
#: a round that changes fewer labels than this share is the last
SETTLED = 0.01
#: least weight of a row: with none at all a class could go without rows
LEAST_CERTAINTY = 0.01


class Pseudo(NamedTuple):
    """Chosen unlabeled rows (m,), the classes (m,) they pass for, and how much each counts (m,)."""

    rows: IntArray
    targets: IntArray
    weights: FloatArray


@dataclass(frozen=True)
class Selection:
    """How unlabeled rows are chosen.

    Parameters
    ----------
    select : "balanced", "prior" or "uncertain".
    grow, most : share of the unlabeled rows that each round takes more, and the most that are taken.
    restart : whether each round labels all rows anew.
    """

    select: str
    grow: float = 0.2
    most: float = 1.0
    restart: bool = True

    def shares(self, targets: IntArray, classes: int, stated: FloatArray | None) -> FloatArray | None:
        """Return the shares (k,) that classes are to have, or None: nothing is assumed of them.

        Parameters
        ----------
        targets : classes (n,) of the labeled rows that may be looked at.
        stated : (k,) shares that somebody knows; None: those of the labeled rows stand for them.
        """
        if self.select == "uncertain":
            return None
        if self.select == "balanced":
            return np.full(classes, 1 / classes)
        return np.bincount(targets, minlength=classes) / len(targets) if stated is None else stated

    def chosen(
        self,
        logits: FloatArray,
        number: int,
        shares: FloatArray | None,
        doubt: FloatArray | None,
        kept: Pseudo | None = None,
    ) -> Pseudo:
        """Return what round ``number``, from 1 on, learns from.

        Parameters
        ----------
        logits : (u, k) of all unlabeled rows, by the teacher.
        shares : as `shares` returns.
        doubt : (u,) in [0, 1], how much heads disagree on each row; None: what they agree on is not asked.
        kept : rows of earlier rounds, which keep their labels and their places among those of their class.

        Examples
        --------
        >>> logits = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.5, 0.0]])
        >>> Selection("balanced", grow=0.5).chosen(logits, 1, np.array([0.5, 0.5]), None)[:2]
        (array([0, 3]), array([0, 1]))
        """
        if shares is not None:
            logits = logits + shift_to(logits, shares)
        said = logits.argmax(axis=1)
        taken = min(self.grow * number, self.most)
        counts = np.bincount(said, minlength=logits.shape[1])
        wanted = np.ceil(taken * (counts if shares is None else shares * len(said)) - 1e-9).astype(int)
        surest = -_margins(logits) if doubt is None else doubt
        free = np.ones(len(said), np.bool_)
        if kept is not None:
            free[kept.rows] = False
            wanted = np.maximum(wanted - np.bincount(kept.targets, minlength=len(counts)), 0)
        rows = []
        for c, count in enumerate(np.minimum(wanted, counts)):
            mine = np.flatnonzero((said == c) & free)
            rows.append(mine[np.argsort(surest[mine], kind="stable")[:count]])
        found = np.sort(np.concatenate(rows))
        certain = np.ones(len(found)) if doubt is None else np.maximum(1 - doubt[found], LEAST_CERTAINTY)
        new = Pseudo(found, said[found], certain)
        if kept is None:
            return new
        return Pseudo(*(np.concatenate([a, b]) for a, b in zip(kept, new, strict=True)))


def _margins(logits: FloatArray) -> FloatArray:
    """Return by how much the first class of each row (n,) leads the second."""
    two = np.partition(logits, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def students(
    teacher: Linear,
    unlabeled: FloatArray,
    fit: Callable[[Pseudo], Linear],
    selection: Selection,
    shares: FloatArray | None = None,
    doubt: FloatArray | None = None,
) -> Iterator[Linear]:
    """Yield the student of each round, as many as are asked for.

    Parameters
    ----------
    teacher : what labels rows first.
    unlabeled : (u, d).
    fit : returns a head that has learned from labeled rows and the chosen ones.
    shares, doubt : as `Selection.chosen` takes them.
    """
    kept: Pseudo | None = None
    number = 0
    while True:
        number += 1
        found = selection.chosen(teacher(unlabeled), number, shares, doubt, kept)
        if not selection.restart:
            kept = found
        teacher = fit(found)
        if shares is not None:
            shift = shift_to(teacher(unlabeled), shares)
            teacher = Linear(teacher.weight, teacher.bias + shift)
        yield teacher


def doubts(heads: Sequence[Linear], unlabeled: FloatArray) -> FloatArray:
    """Return how much heads disagree on each row (u,), from 0, not at all, to 1.

    It is the mutual information between a row's class and which head is right (BALD, Houlsby et al. 2011,
    arXiv 1112.5745), as a share of the most that there can be.

    Examples
    --------
    >>> one, other = Linear(np.array([[9.0], [-9.0]]), np.zeros(2)), Linear(np.zeros((2, 1)), np.zeros(2))
    >>> [doubts(heads, np.ones((1, 1))).round(2).tolist() for heads in ([one, one], [one, other])]
    [[0.0], [0.31]]
    """
    if not heads:
        return np.zeros(len(unlabeled))
    p = np.stack([_softmax(head(unlabeled)) for head in heads])
    most = np.log(min(p.shape[2], max(len(heads), 2)))
    return np.asarray(np.clip((_entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0)) / most, 0, 1))


def _softmax(logits: FloatArray) -> FloatArray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def _entropy(p: FloatArray) -> FloatArray:
    return np.asarray(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=-1))
