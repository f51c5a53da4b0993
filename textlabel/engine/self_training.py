"""A solved head that learns from what it says of unlabeled rows, in as many rounds as labeled rows let it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from textlabel.corpus.split import folds as make_folds
from textlabel.engine.comparison import least_by_far
from textlabel.engine.fitter import Fitter, Kind
from textlabel.engine.process import derive_seed
from textlabel.engine.solvers import Head, takes_row_weights
from textlabel.errors import RecipeError
from textlabel.models.heads import Linear
from textlabel.models.propagation import shift_to
from textlabel.models.self_training import SETTLED, Pseudo, Selection, doubts, students
from textlabel.tune.head import Options
from textlabel.types import FloatArray, IntArray

#: random halvings of the labeled rows by which self-training is judged
HALVINGS = 2


class SelfTrained(NamedTuple):
    """How many rounds of self-training a head has kept, and how far heads of halves of the rows agreed.

    ``agreement`` is a share of the unlabeled rows, None where it was not asked for. ``ended`` tells in words
    why there are no more rounds.
    """

    rounds: int
    agreement: float | None
    ended: str


@dataclass(frozen=True)
class SelfTraining:
    """Rounds of self-training.

    Parameters
    ----------
    fitter : labeled rows, and unlabeled ones beside them.
    tune : which rows a student learns from, and for how many rounds at most.
    kind, l2 : what cross-validation chose for the head.
    alpha : how far labels have spread in the teachers, 0: not at all.

    Raises
    ------
    RecipeError : another kind of label or head, or too few unlabeled rows.
    """

    fitter: Fitter
    tune: Options
    kind: Kind
    l2: float
    alpha: float

    def __post_init__(self) -> None:
        fitter, tune = self.fitter, self.tune
        if not takes_row_weights(fitter.module) or fitter.targets.ndim == 2:
            raise RecipeError(
                f"self_train = {tune.self_train!r} is for one class a row and objective = "
                "'cross_entropy': use these, or leave it out"
            )
        if len(self.unlabeled) < fitter.classes:
            raise RecipeError(
                f"self_train = {tune.self_train!r} needs unlabeled rows of other texts than the labeled "
                f"ones, at least {fitter.classes}, got {len(self.unlabeled)}: give more (--unlabeled)"
            )

    @property
    def unlabeled(self) -> FloatArray:
        """Features (u, d) of the unlabeled rows."""
        assert self.fitter.aside.unlabeled is not None
        return self.fitter.aside.unlabeled

    def heads(self, head: Head, members: Sequence[Head]) -> tuple[SelfTrained, Head, Sequence[Head]]:
        """Return what became of it, and the head and its members after the rounds that are kept."""
        fitter, tune = self.fitter, self.tune
        parts = [fitter.everything, *fitter.parts()]
        learning = [self._students(rows, one) for rows, one in zip(parts, [head, *members], strict=True)]
        kept: list[Head] = [head, *members]
        number, ended = 0, "all rounds"
        before = head(self.unlabeled).argmax(axis=1)
        while number < tune.rounds:
            found = [next(one) for one in learning]
            if fitter.count and self._worse(found[1:], kept[1:]):
                ended = "labeled rows spoke against a further round"
                break
            number, kept = number + 1, list(found)
            after = kept[0](self.unlabeled).argmax(axis=1)
            changed, before = float(np.mean(after != before)), after
            if changed < SETTLED:
                ended = "labels had settled"
                break
        agreement = None
        if number and tune.least_agreement:
            agreement = self._agreement(number)
            if agreement < tune.least_agreement:
                ended = "heads of halves of the labeled rows did not agree"
                return SelfTrained(0, agreement, ended), head, members
        return SelfTrained(number, agreement, ended), kept[0], kept[1:]

    def _students(self, rows: IntArray, teacher: Head) -> Iterator[Linear]:
        """Yield the students of each round; of labeled rows these and their teacher saw only ``rows``."""
        assert isinstance(teacher, Linear)
        fitter, tune = self.fitter, self.tune
        selection = Selection(tune.self_train, tune.grow, tune.most, tune.restart)
        wanted = fitter.wanted(rows)[1]
        hard = wanted if wanted.ndim == 1 else wanted.argmax(axis=1)
        shares = selection.shares(hard, fitter.classes, fitter.aside.shares)
        doubt = None
        if tune.self_train == "uncertain":
            folds = [k for k in range(fitter.count) if (fitter.fold[rows] == k).any()]
            parts = (rows[fitter.fold[rows] != k] for k in folds)
            doubt = doubts([self._linear(part) for part in parts], self.unlabeled)

        def fit(pseudo: Pseudo) -> Linear:
            return self._linear(rows, pseudo)

        return students(teacher, self.unlabeled, fit, selection, shares, doubt)

    def _linear(self, rows: IntArray, pseudo: Pseudo | None = None) -> Linear:
        found = next(self.fitter.fit(rows, self.kind, [self.l2], pseudo))
        assert isinstance(found, Linear)
        return found

    def _worse(self, now: Sequence[Head], before: Sequence[Head]) -> bool:
        """Return whether rows not trained on speak against the last round by more than the noise.

        Where a class begins is not judged: that is set for the unlabeled rows.
        """
        fitter = self.fitter
        rows = fitter.everything[fitter.judged]
        counts = np.bincount(fitter.targets[rows], minlength=fitter.classes) / len(rows)

        def losses(members: Sequence[Head]) -> FloatArray:
            logits = fitter.out_of_fold(rows, members)
            return fitter.losses(logits + shift_to(logits, counts), rows)

        return least_by_far({True: losses(now), False: losses(before)}) is False

    def _agreement(self, number: int) -> float:
        """Return on which share of the unlabeled rows self-trained heads of halves of the rows agree."""
        fitter = self.fitter
        said, rows = [], fitter.everything[fitter.judged]
        if not len(rows):
            return 0.0
        for draw in range(HALVINGS):
            seed = derive_seed("self-training", fitter.seed, draw)
            half = make_folds(fitter.targets[rows], fitter.groups[rows], 2, seed)
            for side in range(2):
                part = np.sort(np.concatenate([rows[half == side], fitter.everything[~fitter.judged]]))
                teacher = fitter.learned(self.alpha, self._linear(part), part)
                learning = self._students(part, teacher)
                said.append(deque(islice(learning, number), 1)[0](self.unlabeled).argmax(axis=1))
        return float(np.mean([np.mean(a == b) for a, b in zip(said[::2], said[1::2], strict=True)]))
