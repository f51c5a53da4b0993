"""Heads of one stage on parts of the rows: what each learns from, and what rows it lacks say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import splittable
from textlabel.engine.comparison import least_by_far, tempered_losses
from textlabel.engine.solvers import (
    Head,
    mixing_argument,
    per_row,
    risk,
    solver,
    takes_mixing,
    takes_row_weights,
)
from textlabel.errors import RecipeError
from textlabel.models.class_names import among
from textlabel.models.heads import Linear, one_hot, unit_scale
from textlabel.models.propagation import Propagation
from textlabel.models.self_training import Pseudo
from textlabel.recipe import Stage, options_of
from textlabel.types import FloatArray, IntArray

#: how far from the strength of the first share, as a factor, others look for theirs
NEAR = 11.0
#: strengths without a lower risk after which weaker ones are not tried: by gradient they take longest
PATIENCE = 2
#: rows that choosing the strength looks at; more would cost minutes and change nothing
CHOOSING_ROWS = 4000
#: with more labels than this nothing spreads: they say enough, and the graph would grow with their square
SPREAD_LABELS = 10_000

#: from rows to those of them to train on, with what each is to be: a class, a score or (m, k) probabilities
Clean = Callable[[IntArray], tuple[IntArray, npt.NDArray[Any]]]


class Aside(NamedTuple):
    """What a head may learn from beside the labeled rows.

    Parameters
    ----------
    names : features (t, k, d) of what each class is, in words, in t templates; None: nobody knows.
    copies, owners : features (c, d) of changed copies of labeled rows, and the row (c,) of each: a copy
        trains the heads that its row trains.
    unlabeled : features (u, d) of texts of the corpus, or None.
    partial, candidates : features (m, d) of rows of which only a set of classes (m, k) is known that holds
        theirs; they train all heads.
    shares : (k,) of classes among the unlabeled texts, if somebody knows them.
    """

    names: FloatArray | None = None
    copies: FloatArray | None = None
    owners: IntArray | None = None
    unlabeled: FloatArray | None = None
    partial: FloatArray | None = None
    candidates: npt.NDArray[np.bool_] | None = None
    shares: FloatArray | None = None


#: how classes may share weights, by the share they have in common, the usual one first
Mixings = Mapping[float, FloatArray | None]
FREE: Mixings = {0.0: None}


class Kind(NamedTuple):
    """What a head learns from and by: how much names count, and what classes have in common."""

    weight: float
    share: float


class Fitter:
    """Heads of one stage on parts of the rows, whose arguments are those of `engine.head.fit_head`."""

    def __init__(
        self,
        features: FloatArray,
        targets: IntArray | FloatArray,
        groups: IntArray,
        classes: int,
        stage: Stage,
        seed: int,
        clean: Clean | None,
        aside: Aside,
        mixings: Mixings = FREE,
        row_weights: FloatArray | None = None,
    ) -> None:
        found = solver(stage)
        if found is None:
            raise RecipeError(
                "this stage has no direct solver; expected tune = 'head' with one objective that has one, "
                "such as cross_entropy"
            )
        self.module, self.options = found[0], options_of("objective", found[1])
        self.tempered = getattr(self.module, "TEMPERED", False)
        self.features, self.targets, self.classes = features, targets, classes
        self.groups = groups
        self.seed, self.clean, self.aside, self.mixings = seed, clean, aside, mixings
        if row_weights is not None and not takes_row_weights(self.module):
            raise RecipeError(f"the solver of {found[1].name} cannot weigh rows: use cross_entropy")
        self.row_weights = row_weights
        if not takes_mixing(self.module):
            self.mixings, self.aside = FREE, aside._replace(partial=None, candidates=None)
        self.everything = np.arange(len(targets))
        self.spreads = aside.unlabeled is not None and len(targets) <= SPREAD_LABELS
        self.judged = splittable(targets, groups)
        self.fold = np.full(len(targets), -1)
        asked, judged = options_of("tune", stage.tune).folds, self.judged
        self.count = max(min(asked, len(np.unique(groups[judged]))), 2) if judged.any() else 0
        if self.count:
            self.fold[judged] = make_folds(targets[judged], groups[judged], self.count, seed)

    def fit(
        self, rows: IntArray, kind: Kind, strengths: Sequence[float], pseudo: Pseudo | None = None
    ) -> Iterator[Head]:
        """Return heads fitted on ``rows``, what belongs to them and chosen unlabeled rows, one a strength."""
        scaled = per_row(self.module, strengths, len(rows) + (len(pseudo.rows) if pseudo else 0))
        rows, wanted = self.wanted(rows)
        features, targets = self._with_aside(rows, wanted, kind.weight)
        more = mixing_argument(self.mixings[kind.share]) | self._weighed(rows, len(features))
        if pseudo is not None:
            assert self.aside.unlabeled is not None
            known = more.get("row_weights", np.ones(len(features)))
            more["row_weights"] = np.concatenate([known, pseudo.weights])
            features = np.concatenate([features, self.aside.unlabeled[pseudo.rows]])
            guessed = pseudo.targets if targets.ndim == 1 else np.eye(self.classes)[pseudo.targets]
            targets = np.concatenate([targets, guessed])
        return iter(self.module.fit_linear(features, targets, self.classes, scaled, self.options, **more))

    def _weighed(self, rows: IntArray, count: int) -> dict[str, FloatArray]:
        """Return what a solver is told of the weights of ``rows`` and of what is aside, ``count`` in all."""
        if self.row_weights is None:
            return {}
        weights = [self.row_weights[rows]]
        if self.aside.copies is not None and self.aside.owners is not None:
            weights.append(self.row_weights[self.aside.owners[np.isin(self.aside.owners, rows)]])
        return {"row_weights": np.concatenate([*weights, np.ones(count - sum(map(len, weights)))])}

    def by_fold(self, rows: IntArray, kind: Kind, strengths: Sequence[float]) -> Iterator[tuple[Head, ...]]:
        """Yield, for each strength, the heads that each lack a fold of ``rows``."""
        parts = (rows[self.fold[rows] != k] for k in range(self.count))
        return zip(*(self.fit(part, kind, strengths) for part in parts), strict=True)

    def members(self, kind: Kind, l2: float) -> list[Head]:
        """Return the heads that each lack a fold of all rows, one fitted after the other to spare memory."""
        return [next(self.fit(part, kind, [l2])) for part in self.parts()]

    def parts(self) -> Iterator[IntArray]:
        """Yield the rows without each fold."""
        return (np.flatnonzero(self.fold != k) for k in range(self.count))

    def out_of_fold(self, rows: IntArray, members: Sequence[Head]) -> FloatArray:
        """Return logits (len(rows), k), each by the head that lacks the row's fold."""
        logits: FloatArray = np.zeros((len(rows), self.classes))
        for k, head in enumerate(members):
            held = self.fold[rows] == k
            logits[held] = head(self.features[rows[held]])
        return logits

    def choose(self, weights: Sequence[float], strengths: Sequence[float]) -> tuple[Kind, float]:
        """Return the kind of head and the strength with the least risk on rows not trained on."""
        some = self.everything
        if len(some) > CHOOSING_ROWS:
            some = np.sort(np.random.default_rng(self.seed).permutation(some)[:CHOOSING_ROWS])
        # a row left out must be left out of everything, and be judged by its label as given
        alone = self.clean is None and self.aside.copies is None and not any(weights)
        if hasattr(self.module, "left_out_losses") and alone:
            scaled = per_row(self.module, strengths, len(some))
            x, y = self.features[some], self.targets[some]
            losses = self.module.left_out_losses(x, y, self.classes, scaled)
            return Kind(0.0, next(iter(self.mixings))), strengths[int(np.argmin(losses))]
        share, *others = self.mixings
        best = self._best([Kind(weight, share) for weight in weights], strengths, some)
        found = {share: best}
        for other in others if self.count else ():
            near = [l2 for l2 in strengths if 1 / NEAR < l2 / best[1] < NEAR]
            found[other] = self._best([best[0]._replace(share=other)], near, some)
        if len(found) == 1:
            return best[:2]
        rows = some[self.judged[some]]
        chosen = least_by_far({share: self.losses(one[2], rows) for share, one in found.items()})
        return found[chosen][:2]

    def _best(
        self, kinds: Sequence[Kind], strengths: Sequence[float], some: IntArray
    ) -> tuple[Kind, float, FloatArray]:
        """Return the kind and strength with the least risk on rows not trained on, and their logits."""
        seen, least, none = some[self.judged[some]], np.inf, np.zeros((0, self.classes))
        found: tuple[Kind, float, FloatArray] = (kinds[0], strengths[0], none)
        if not self.count:
            return found
        for kind in kinds:
            risks: list[float] = []
            for l2, members in zip(strengths, self.by_fold(some, kind, strengths), strict=True):
                logits = self.out_of_fold(seen, members)
                risks.append(self._risk(logits, seen))
                if risks[-1] < least:
                    least, found = risks[-1], (kind, l2, logits)
                if len(risks) - 1 - int(np.argmin(risks)) == PATIENCE:
                    break
        return found

    def _risk(self, logits: FloatArray, rows: IntArray) -> float:
        targets = self.targets[rows]
        if self.row_weights is not None:
            return risk(logits, targets, self.row_weights[rows])
        return (
            unit_scale(logits, one_hot(targets, self.classes))[1] if self.tempered else risk(logits, targets)
        )

    def losses(self, logits: FloatArray, rows: IntArray) -> FloatArray:
        """Return losses of rows, (m,), each times what the row counts."""
        losses = tempered_losses(logits, self.targets[rows])
        return losses if self.row_weights is None else losses * self.row_weights[rows]

    def scaled(self, heads: Sequence[Head]) -> list[Head]:
        """Return the head and its members by the one factor on logits that suits rows not trained on best."""
        linear = [one for one in heads if isinstance(one, Linear)]
        assert len(linear) == len(heads)
        seen = self.everything[self.judged]
        soft = one_hot(self.targets[seen], self.classes)
        factor, _ = unit_scale(self.out_of_fold(seen, heads[1:]), soft)
        return [Linear(factor * one.weight, factor * one.bias) for one in linear]

    def spread(
        self, alphas: Sequence[float], head: Head, members: Sequence[Head]
    ) -> tuple[float, Head, Sequence[Head]]:
        """Return how far labels spread among unlabeled texts, and the heads that have learned it."""
        parts = list(self.parts())
        tried = {
            a: [self.learned(a, one, part) for one, part in zip(members, parts, strict=True)] for a in alphas
        }
        rows = self.everything[self.judged]
        losses = {a: self.losses(self.out_of_fold(rows, m), rows) for a, m in tried.items()}
        alpha = least_by_far(losses) if self.count else alphas[0]
        return alpha, self.learned(alpha, head, self.everything), tried[alpha]

    @property
    def elsewhere(self) -> bool:
        """Whether the unlabeled rows are of another domain, and enough of them to learn from."""
        assert self.aside.unlabeled is not None
        return self.spreads and len(self.aside.unlabeled) >= self.classes and self._propagation.elsewhere

    @cached_property
    def _propagation(self) -> Propagation:
        assert self.aside.unlabeled is not None
        return Propagation(self.features, self.aside.unlabeled)

    def learned(self, alpha: float, head: Head, rows: IntArray) -> Head:
        """Return the head after labels of ``rows`` have spread so far."""
        return self._propagation.head(head, self._known(rows), alpha) if alpha else head

    def wanted(self, rows: IntArray) -> tuple[IntArray, npt.NDArray[Any]]:
        """Return those of ``rows`` that a head is fitted on, and what each is to be."""
        return (rows, self.targets[rows]) if self.clean is None else self.clean(rows)

    def _known(self, rows: IntArray) -> FloatArray:
        """Return the labels (n, k) of ``rows`` as probabilities, NaN for the others."""
        known = np.full((len(self.targets), self.classes), np.nan)
        rows, wanted = self.wanted(rows)
        known[rows] = wanted if wanted.ndim == 2 else np.eye(self.classes)[wanted]
        return known

    def _with_aside(
        self, rows: IntArray, wanted: npt.NDArray[Any], weight: float
    ) -> tuple[FloatArray, npt.NDArray[Any]]:
        """Return features and targets of rows, of their copies, and of names, each ``weight`` times."""
        parts, labels = [self.features[rows]], [wanted]

        def add(features: FloatArray, targets: npt.NDArray[Any]) -> None:
            parts.append(features)
            labels.append(targets)

        if self.aside.copies is not None and self.aside.owners is not None:
            mine = np.isin(self.aside.owners, rows)
            add(self.aside.copies[mine], wanted[np.searchsorted(rows, self.aside.owners[mine])])
        if weight and self.aside.names is not None:
            times = round(weight)
            points = among(self.aside.names, parts[0])
            add(np.tile(points, (times, 1)), np.tile(np.arange(self.classes), times))
        if self.aside.partial is not None and self.aside.candidates is not None:
            add(self.aside.partial, self.aside.candidates.astype(np.float64))
        if any(targets.ndim == 2 for targets in labels):
            eye = np.eye(self.classes)
            labels = [targets if targets.ndim == 2 else eye[targets] for targets in labels]
        return np.concatenate(parts), np.concatenate(labels)
