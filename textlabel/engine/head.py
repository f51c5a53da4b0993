"""The head on cached features, linear as a rule: strength by cross-validation, logits out of fold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from inspect import signature
from itertools import islice
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textlabel import registry
from textlabel.corpus.split import folds as make_folds
from textlabel.corpus.split import splittable
from textlabel.engine.comparison import least_by_far, tempered_losses
from textlabel.engine.process import derive_seed
from textlabel.errors import RecipeError
from textlabel.models.alignment import Alignment, aligned
from textlabel.models.class_names import among
from textlabel.models.heads import Linear, one_hot, unit_scale
from textlabel.models.nonlinear import Nonlinear
from textlabel.models.propagation import Propagation, shift_to
from textlabel.models.self_training import SETTLED, Pseudo, Selection, doubts, students
from textlabel.recipe import Plugin, Stage, options_of
from textlabel.trust.calibration import softmax
from textlabel.trust.metrics import nll
from textlabel.trust.source import Twins
from textlabel.tune.head import Options
from textlabel.types import FloatArray, IntArray

#: ridge strengths tried, in nats per squared standardized weight, for `REFERENCE_ROWS` rows
STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0)
REFERENCE_ROWS = 100
#: how far from the strength of the first share, as a factor, others look for theirs
NEAR = 11.0
#: strengths without a lower risk after which weaker ones are not tried: by gradient they take longest
PATIENCE = 2
#: pairs of twins whose agreement is averaged; eight did no better
TWIN_PAIRS = 4
#: random halvings of the labeled rows by which self-training is judged
HALVINGS = 2
#: rows that choosing the strength looks at; more would cost minutes and change nothing
CHOOSING_ROWS = 4000
#: with more labels than this nothing spreads: they say enough, and the graph would grow with their square
SPREAD_LABELS = 10_000

#: what an objective with a direct solver returns
Head = Linear | Nonlinear
#: from rows to those of them to train on, with what each is to be: a class, a score or (m, k) probabilities
Clean = Callable[[IntArray], tuple[IntArray, npt.NDArray[Any]]]


class SelfTrained(NamedTuple):
    """How many rounds of self-training a head has kept, and how far heads of halves of the rows agreed.

    ``agreement`` is a share of the unlabeled rows, None where it was not asked for. ``ended`` tells in words
    why there are no more rounds.
    """

    rounds: int
    agreement: float | None
    ended: str


class HeadFit(NamedTuple):
    """A fitted head, members that each lack a fold, and each row's logits (n, k) by the member without it.

    Where the tune asks for an ensemble, the head is the mean of the members.

    ``l2``, ``name_weight`` and ``spread`` are what cross-validation chose (`textlabel.tune.head.Options`), as
    is ``share`` (`textlabel.models.structure.mixings`).
    """

    head: Head
    out_of_fold: FloatArray
    l2: float
    members: list[Head]
    name_weight: float = 0.0
    spread: float = 0.0
    share: float = 0.0
    #: what became of self-training; None: nobody asked for it
    self_trained: SelfTrained | None = None


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


class _Kind(NamedTuple):
    """What a head learns from and by: how much names count, and what classes have in common."""

    weight: float
    share: float


def solver(stage: Stage) -> tuple[ModuleType, Plugin] | None:
    """Return the objective module that solves this stage's head directly, or None: train by gradient."""
    if stage.tune.name != "head" or len(stage.objective) != 1:
        return None
    module = registry.load("objective", stage.objective[0].name)
    return (module, stage.objective[0]) if hasattr(module, "fit_linear") else None


def fit_head(
    features: FloatArray,
    targets: IntArray | FloatArray,
    groups: IntArray,
    classes: int,
    stage: Stage,
    seed: int,
    clean: Clean | None = None,
    aside: Aside = Aside(),  # noqa: B008 - immutable
    mixings: Mixings = FREE,
    row_weights: FloatArray | None = None,
) -> HeadFit:
    """Return the head of a solvable stage, fitted on all rows, with its out-of-fold logits.

    Folds are fewer where there are fewer distinct texts. Rows of a class with a single text are in none: all
    heads train on them, and their logits are 0.

    Parameters
    ----------
    features : (n, d) pooled features.
    targets : (n,) class indices or scores, or (n, k) 0 and 1.
    groups : (n,) equal where texts are equal; such rows share a fold.
    classes : number of outputs k.
    clean : mends the labels of rows that a head is fitted on, looking at those rows only; the labels that a
        head is judged by stay as they are. None: all are as given.
    aside : what else it may learn from. How much names count, and how far labels spread among unlabeled
        texts, is chosen as the strength is, by rows that the head did not train on.
    mixings : what of `textlabel.models.structure` is tried. The first stands unless those rows speak for
        another by more than twice the standard error.
    row_weights : (n,) with mean 1, as how many rows each counts, also where heads are judged. What is aside
        counts as one row each, a changed copy as its row. None: all count as one.

    Raises
    ------
    RecipeError : the stage has no direct solver, or one that cannot weigh rows or is not linear and shall be
        a mean.
    """
    tune = options_of("tune", stage.tune)
    moved = None
    if tune.align != "none" and aside.unlabeled is not None:
        if min(len(features), len(aside.unlabeled)) < 2:
            raise RecipeError(
                f"align needs 2 labeled rows and 2 unlabeled ones of other texts, got {len(features)} and "
                f"{len(aside.unlabeled)}: leave it out"
            )
        # it reads no label, so that of all rows serves every fold
        moved = aligned(tune.align, features, aside.unlabeled, tune.align_dims)
        features, aside = moved.source(features), _moved(aside, moved)
    fitter = _Fitter(features, targets, groups, classes, stage, seed, clean, aside, mixings, row_weights)
    strengths = sorted([tune.l2] if tune.l2 else STRENGTHS, reverse=True)
    weights = tune.name_weights if aside.names is not None else (0.0,)
    kind, l2 = fitter.choose(weights, strengths)
    members: Sequence[Head] = fitter.members(kind, l2)
    head = next(fitter.fit(fitter.everything, kind, [l2]))
    if fitter.tempered and fitter.count:
        head, *members = fitter.scaled([head, *members])
    alpha = 0.0
    if tune.spread and fitter.spreads:
        alpha, head, members = fitter.spread(tune.spread, head, members)
    told = None
    if tune.self_train and aside.unlabeled is not None and (fitter.elsewhere or not tune.spread):
        told, head, members = fitter.self_train(tune, kind, l2, alpha, head, members)
    if tune.ensemble == "folds" and members:
        head = mean_head(members)
    logits = fitter.out_of_fold(fitter.everything, members)
    if moved is not None:
        head, *members = (_folded(moved, one) for one in (head, *members))
    return HeadFit(head, logits, l2, list(members), kind.weight, alpha, kind.share, told)


def _moved(aside: Aside, moved: Alignment) -> Aside:
    """Return what is aside where aligned rows lie: unlabeled rows are the target, all else the source."""
    assert aside.unlabeled is not None

    def there(features: FloatArray | None) -> FloatArray | None:
        return None if features is None else moved.source(features)

    return aside._replace(
        names=there(aside.names),
        copies=there(aside.copies),
        unlabeled=moved.target(aside.unlabeled),
        partial=there(aside.partial),
    )


def _folded(moved: Alignment, head: Head) -> Head:
    """Return the head of untouched features of the target."""
    if isinstance(head, Linear):
        return moved.fold(head)
    if moved.target_map is None:
        return head
    raise RecipeError(
        "align = 'subspace' becomes part of a linear head, and this objective gives another kind: use "
        "align = 'coral', or cross_entropy"
    )


def mean_head(members: Sequence[Head]) -> Linear:
    """Return the linear head whose logits are the mean of the members' logits.

    Raises
    ------
    RecipeError : heads that are not linear, whose mean is no head of their kind.
    """
    linear = [one for one in members if isinstance(one, Linear)]
    if len(linear) < len(members):
        raise RecipeError(
            "ensemble = 'folds' is the mean of linear heads, and those of this objective are not: leave it "
            "out, or use an objective such as cross_entropy"
        )
    weight = np.mean([one.weight for one in linear], axis=0)
    return Linear(weight, np.mean([one.bias for one in linear], axis=0))


class _Fitter:
    """Heads of one stage on parts of the rows; the arguments are those of `fit_head`."""

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
        self, rows: IntArray, kind: _Kind, strengths: Sequence[float], pseudo: Pseudo | None = None
    ) -> Iterator[Head]:
        """Return heads fitted on ``rows``, what belongs to them and chosen unlabeled rows, one a strength."""
        scaled = _per_row(self.module, strengths, len(rows) + (len(pseudo.rows) if pseudo else 0))
        rows, wanted = self._wanted(rows)
        features, targets = self._with_aside(rows, wanted, kind.weight)
        more = _mixing(self.mixings[kind.share]) | self._weighed(rows, len(features))
        if pseudo is not None:
            assert self.aside.unlabeled is not None
            more["row_weights"] = np.concatenate([np.ones(len(features)), pseudo.weights])
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

    def by_fold(self, rows: IntArray, kind: _Kind, strengths: Sequence[float]) -> Iterator[tuple[Head, ...]]:
        """Yield, for each strength, the heads that each lack a fold of ``rows``."""
        parts = (rows[self.fold[rows] != k] for k in range(self.count))
        return zip(*(self.fit(part, kind, strengths) for part in parts), strict=True)

    def members(self, kind: _Kind, l2: float) -> list[Head]:
        """Return the heads that each lack a fold of all rows, one fitted after the other to spare memory."""
        parts = (np.flatnonzero(self.fold != k) for k in range(self.count))
        return [next(self.fit(part, kind, [l2])) for part in parts]

    def out_of_fold(self, rows: IntArray, members: Sequence[Head]) -> FloatArray:
        """Return logits (len(rows), k), each by the head that lacks the row's fold."""
        logits: FloatArray = np.zeros((len(rows), self.classes))
        for k, head in enumerate(members):
            held = self.fold[rows] == k
            logits[held] = head(self.features[rows[held]])
        return logits

    def choose(self, weights: Sequence[float], strengths: Sequence[float]) -> tuple[_Kind, float]:
        """Return the kind of head and the strength with the least risk on rows not trained on."""
        some = self.everything
        if len(some) > CHOOSING_ROWS:
            some = np.sort(np.random.default_rng(self.seed).permutation(some)[:CHOOSING_ROWS])
        # a row left out must be left out of everything, and be judged by its label as given
        alone = self.clean is None and self.aside.copies is None and not any(weights)
        if hasattr(self.module, "left_out_losses") and alone:
            scaled = _per_row(self.module, strengths, len(some))
            x, y = self.features[some], self.targets[some]
            losses = self.module.left_out_losses(x, y, self.classes, scaled)
            return _Kind(0.0, next(iter(self.mixings))), strengths[int(np.argmin(losses))]
        share, *others = self.mixings
        best = self._best([_Kind(weight, share) for weight in weights], strengths, some)
        found = {share: best}
        for other in others if self.count else ():
            near = [l2 for l2 in strengths if 1 / NEAR < l2 / best[1] < NEAR]
            found[other] = self._best([best[0]._replace(share=other)], near, some)
        if len(found) == 1:
            return best[:2]
        rows = some[self.judged[some]]
        chosen = least_by_far({share: self._losses(one[2], rows) for share, one in found.items()})
        return found[chosen][:2]

    def _best(
        self, kinds: Sequence[_Kind], strengths: Sequence[float], some: IntArray
    ) -> tuple[_Kind, float, FloatArray]:
        """Return the kind and strength with the least risk on rows not trained on, and their logits."""
        seen, least, none = some[self.judged[some]], np.inf, np.zeros((0, self.classes))
        found: tuple[_Kind, float, FloatArray] = (kinds[0], strengths[0], none)
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

    def _losses(self, logits: FloatArray, rows: IntArray) -> FloatArray:
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
        parts = [np.flatnonzero(self.fold != k) for k in range(self.count)]
        tried = {
            a: [self._learned(a, one, part) for one, part in zip(members, parts, strict=True)] for a in alphas
        }
        rows = self.everything[self.judged]
        losses = {a: self._losses(self.out_of_fold(rows, m), rows) for a, m in tried.items()}
        alpha = least_by_far(losses) if self.count else alphas[0]
        return alpha, self._learned(alpha, head, self.everything), tried[alpha]

    @property
    def elsewhere(self) -> bool:
        """Whether the unlabeled rows are of another domain, and enough of them to learn from."""
        assert self.aside.unlabeled is not None
        return self.spreads and len(self.aside.unlabeled) >= self.classes and self._propagation.elsewhere

    @cached_property
    def _propagation(self) -> Propagation:
        assert self.aside.unlabeled is not None
        return Propagation(self.features, self.aside.unlabeled)

    def _learned(self, alpha: float, head: Head, rows: IntArray) -> Head:
        """Return the head after labels of ``rows`` have spread so far."""
        return self._propagation.head(head, self._known(rows), alpha) if alpha else head

    def self_train(
        self, tune: Options, kind: _Kind, l2: float, alpha: float, head: Head, members: Sequence[Head]
    ) -> tuple[SelfTrained, Head, Sequence[Head]]:
        """Return what became of self-training, and the heads after the rounds that are kept."""
        assert self.aside.unlabeled is not None
        self._check_self_training(tune)
        parts = [self.everything, *(np.flatnonzero(self.fold != k) for k in range(self.count))]
        learning = [
            self._students(rows, one, tune, kind, l2)
            for rows, one in zip(parts, [head, *members], strict=True)
        ]
        kept: list[Head] = [head, *members]
        number, ended = 0, "all rounds"
        before = head(self.aside.unlabeled).argmax(axis=1)
        while number < tune.rounds:
            found = [next(one) for one in learning]
            if self.count and self._worse(found[1:], kept[1:]):
                ended = "labeled rows spoke against a further round"
                break
            number, kept = number + 1, list(found)
            after = kept[0](self.aside.unlabeled).argmax(axis=1)
            changed, before = float(np.mean(after != before)), after
            if changed < SETTLED:
                ended = "labels had settled"
                break
        agreement = None
        if number and tune.least_agreement:
            agreement = self._agreement(tune, kind, l2, alpha, number)
            if agreement < tune.least_agreement:
                ended = "heads of halves of the labeled rows did not agree"
                return SelfTrained(0, agreement, ended), head, members
        return SelfTrained(number, agreement, ended), kept[0], kept[1:]

    def _check_self_training(self, tune: Options) -> None:
        assert self.aside.unlabeled is not None
        if not takes_row_weights(self.module) or self.targets.ndim == 2:
            raise RecipeError(
                f"self_train = {tune.self_train!r} is for one class a row and objective = "
                "'cross_entropy': use these, or leave it out"
            )
        if len(self.aside.unlabeled) < self.classes:
            raise RecipeError(
                f"self_train = {tune.self_train!r} needs unlabeled rows of other texts than the labeled "
                f"ones, at least {self.classes}, got {len(self.aside.unlabeled)}: give more (--unlabeled)"
            )

    def _students(
        self, rows: IntArray, teacher: Head, tune: Options, kind: _Kind, l2: float
    ) -> Iterator[Linear]:
        """Yield the students of each round; of labeled rows these and their teacher saw only ``rows``."""
        assert self.aside.unlabeled is not None
        assert isinstance(teacher, Linear)
        selection = Selection(tune.self_train, tune.grow, tune.most, tune.restart)
        wanted = self._wanted(rows)[1]
        hard = wanted if wanted.ndim == 1 else wanted.argmax(axis=1)
        shares = selection.shares(hard, self.classes, self.aside.shares)
        doubt = None
        if tune.self_train == "uncertain":
            folds = [k for k in range(self.count) if (self.fold[rows] == k).any()]
            parts = (rows[self.fold[rows] != k] for k in folds)
            doubt = doubts([self._linear(part, kind, l2) for part in parts], self.aside.unlabeled)

        def fit(pseudo: Pseudo) -> Linear:
            return self._linear(rows, kind, l2, pseudo)

        return students(teacher, self.aside.unlabeled, fit, selection, shares, doubt)

    def _linear(self, rows: IntArray, kind: _Kind, l2: float, pseudo: Pseudo | None = None) -> Linear:
        found = next(self.fit(rows, kind, [l2], pseudo))
        assert isinstance(found, Linear)
        return found

    def _worse(self, now: Sequence[Head], before: Sequence[Head]) -> bool:
        """Return whether rows not trained on speak against the last round by more than the noise.

        Where a class begins is not judged: that is set for the unlabeled rows.
        """
        rows = self.everything[self.judged]
        counts = np.bincount(self.targets[rows], minlength=self.classes) / len(rows)

        def losses(members: Sequence[Head]) -> FloatArray:
            logits = self.out_of_fold(rows, members)
            return self._losses(logits + shift_to(logits, counts), rows)

        return least_by_far({True: losses(now), False: losses(before)}) is False

    def _agreement(self, tune: Options, kind: _Kind, l2: float, alpha: float, number: int) -> float:
        """Return on which share of the unlabeled rows self-trained heads of halves of the rows agree."""
        assert self.aside.unlabeled is not None
        said, rows = [], self.everything[self.judged]
        if not len(rows):
            return 0.0
        for draw in range(HALVINGS):
            seed = derive_seed("self-training", self.seed, draw)
            half = make_folds(self.targets[rows], self.groups[rows], 2, seed)
            for side in range(2):
                part = np.sort(np.concatenate([rows[half == side], self.everything[~self.judged]]))
                teacher = self._learned(alpha, self._linear(part, kind, l2), part)
                learning = self._students(part, teacher, tune, kind, l2)
                said.append(deque(islice(learning, number), 1)[0](self.aside.unlabeled).argmax(axis=1))
        return float(np.mean([np.mean(a == b) for a, b in zip(said[::2], said[1::2], strict=True)]))

    def _wanted(self, rows: IntArray) -> tuple[IntArray, npt.NDArray[Any]]:
        return (rows, self.targets[rows]) if self.clean is None else self.clean(rows)

    def _known(self, rows: IntArray) -> FloatArray:
        """Return the labels (n, k) of ``rows`` as probabilities, NaN for the others."""
        known = np.full((len(self.targets), self.classes), np.nan)
        rows, wanted = self._wanted(rows)
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


def _per_row(module: ModuleType, strengths: Sequence[float], rows: int) -> list[float]:
    """Return strengths for so many rows: a penalty stands beside a mean; others stay as they are."""
    return [l2 * REFERENCE_ROWS / rows if getattr(module, "PENALTY", True) else l2 for l2 in strengths]


def takes_mixing(module: ModuleType) -> bool:
    """Return whether a solver knows how classes that belong together share weights."""
    return "mixing" in signature(module.fit_linear).parameters


def takes_row_weights(module: ModuleType) -> bool:
    """Return whether a solver can count rows as more than one, or less."""
    return "row_weights" in signature(module.fit_linear).parameters


def _mixing(mixing: FloatArray | None) -> dict[str, FloatArray]:
    """Return what a solver that knows of structure is told beside the rows."""
    return {} if mixing is None else {"mixing": mixing}


def twin_heads(
    features: FloatArray,
    targets: IntArray,
    groups: IntArray,
    classes: int,
    stage: Stage,
    l2: float,
    seed: int,
    mixing: FloatArray | None = None,
    row_weights: FloatArray | None = None,
) -> Twins:
    """Return pairs of heads of a solvable stage, each fitted on half of the rows and half of the features.

    Solved heads have no seed: other rows make another head, and other features part them further. Each pair
    halves both anew. Arguments are those of `fit_head`; ``l2`` and ``mixing`` are what it chose. Rows count
    as ``row_weights`` say, but are halved as if all counted alike.
    """
    found = solver(stage)
    assert found is not None
    module, options = found[0], options_of("objective", found[1])
    weight = np.zeros((2, TWIN_PAIRS, classes, features.shape[1]), dtype=np.float32)
    bias = np.zeros((2, TWIN_PAIRS, classes), dtype=np.float32)
    for pair in range(TWIN_PAIRS):
        draw = derive_seed("twins", seed, pair)
        half = make_folds(targets, groups, 2, draw)
        side = np.random.default_rng(draw).permutation(features.shape[1]) % 2
        for k in range(2):
            rows, columns = np.flatnonzero(half == k), np.flatnonzero(side == k)
            x, strength = features[np.ix_(rows, columns)], _per_row(module, [l2], len(rows))
            more = _mixing(mixing) | ({} if row_weights is None else {"row_weights": row_weights[rows]})
            [head] = module.fit_linear(x, targets[rows], classes, strength, options, **more)
            weight[k, pair][:, columns], bias[k, pair] = head.weight, head.bias
    return Twins(weight, bias)


def risk(outputs: FloatArray, targets: IntArray | FloatArray, row_weights: FloatArray | None = None) -> float:
    """Return the mean negative log-likelihood (nats) of classes, (n,) or (n, k), or squared error of scores.

    ``row_weights`` (n,) weigh the mean over rows of one class; None: all rows count alike.

    Examples
    --------
    >>> round(risk(np.zeros((3, 2)), np.array([0, 1, 1])), 4), risk(np.ones((2, 1)), np.array([1.0, 3.0]))
    (0.6931, 2.0)
    """
    if targets.ndim == 2:
        return float(np.mean(np.logaddexp(0, outputs) - targets * outputs))
    if targets.dtype.kind == "f":
        return float(np.mean((outputs[:, 0] - targets) ** 2))
    if row_weights is not None:
        p = softmax(outputs)[np.arange(len(targets)), targets]
        return float(np.average(-np.log(np.maximum(p, 1e-12)), weights=row_weights))
    return nll(targets, softmax(outputs))
