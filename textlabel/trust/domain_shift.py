"""How far apart two corpora are, by how well a classifier tells their texts apart.

That is about texts, and tells little of labels: over 106 pairs of sentiment corpora the correlation of the
distance with the drop in accuracy was .18 (recipes/benchmarks/results/trust_estimates.json).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: rows of each corpus that are looked at: more would only make a small standard error smaller
ROWS = 5000
#: up to this A-distance corpora are close
CLOSE = 0.4
#: what an A-distance up to each of these says of the texts
VERDICTS = (
    (CLOSE, "close: few texts tell which corpus they are of"),
    (1.2, "different: many texts tell which corpus they are of"),
    (2.0, "nearly separable: nearly every text tells which corpus it is of"),
)


@dataclass(frozen=True)
class DomainShift:
    """How well a classifier tells two corpora apart on rows that it did not see.

    Parameters
    ----------
    distance : proxy A-distance, 2 (1 - 2 error); 0 cannot be told apart, 2 always can.
    error : mean of the two corpora's shares of rows ascribed to the other one, in [0, 1].
    standard_error : of ``distance``, as if rows were judged independently. Where there is no difference,
        each pair of rows tells in both their folds, and it is too small by a factor of up to the root of 2.
    auc : probability that a target row looks more like the target than a source row does.
    rows : rows of source and target that were looked at.
    """

    distance: float
    error: float
    standard_error: float
    auc: float
    rows: tuple[int, int]

    @property
    def verdict(self) -> str:
        """What it means, in words."""
        noise = 2 * 2**0.5 * self.standard_error
        if self.distance <= noise:
            if self.distance + noise < CLOSE:
                return "no difference found: the texts of the two corpora look alike"
            return "too few rows to tell: no difference found, and there may be one"
        return next(words for limit, words in VERDICTS if self.distance <= limit)

    def __str__(self) -> str:
        return f"A-distance {self.distance:.2f} ± {self.standard_error:.2f} of 2; {self.verdict}"


def domain_shift(
    source: npt.NDArray[np.floating[Any]],
    target: npt.NDArray[np.floating[Any]],
    groups: npt.ArrayLike | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> DomainShift:
    """Return how far apart source and target features are, as in Ganin et al. 2016 (arXiv 1505.07818).

    Every row is judged by a shrunken linear discriminant that was fitted on the other folds. Equal texts
    share a fold: a text of both corpora would otherwise be held against the fold that saw its twin. Each
    corpus counts half, whatever its size, and of large ones 5,000 random rows are looked at.

    Parameters
    ----------
    source, target : (n, d) and (m, d) features, at least ``folds`` distinct rows each.
    groups : (n + m,) numbers, equal where texts are equal, source rows first; None: all texts differ.
    folds : number of folds.
    seed : decides folds and the rows that are looked at.

    Raises
    ------
    CorpusError : too few rows, other widths, or not one group for each row.
    """
    member = np.arange(len(source) + len(target)) if groups is None else np.asarray(groups)
    if source.ndim != 2 or source.shape[1:] != target.shape[1:] or len(member) != len(source) + len(target):
        raise CorpusError(
            f"expected features (n, d) and (m, d) and n + m groups; got {source.shape}, {target.shape} and "
            f"{len(member)}"
        )
    rng = np.random.default_rng(seed)
    kept = [np.sort(rng.permutation(len(part))[:ROWS]) for part in (source, target)]
    x = np.concatenate([source[kept[0]], target[kept[1]]]).astype(np.float64)
    side = np.repeat([0, 1], [len(part) for part in kept])
    member = member[np.concatenate([kept[0], kept[1] + len(source)])]
    score = np.empty(len(x))
    for train, held in _parts(member, side, folds, rng):
        score[held] = _discriminant(x[train], side[train], x[held])
    return _measured(score[side == 0], score[side == 1])


def _parts(member: Ints, side: Ints, folds: int, rng: np.random.Generator) -> Iterator[tuple[Ints, Ints]]:
    """Yield (train, held out) row numbers, groups whole, both sides in every training part."""
    _, group = np.unique(member, return_inverse=True)
    fold = (rng.permutation(group.max() + 1) % folds)[group]
    for k in range(folds):
        train, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        if len(np.unique(side[train])) < 2 or not len(held):
            raise CorpusError(
                f"expected at least {folds} distinct texts of each corpus, got {(side == 0).sum()} and "
                f"{(side == 1).sum()} rows; compare larger samples"
            )
        yield train, held


def _discriminant(x: Floats, side: Ints, rows: Floats) -> Floats:
    """Return how much each row looks like side 1, (n,): above 0 more than like side 0."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    return np.asarray(model.fit(x, side).decision_function(rows))


def _measured(source: Floats, target: Floats) -> DomainShift:
    from scipy.stats import rankdata

    n, m = len(source), len(target)
    wrong = np.array([np.mean(source > 0), np.mean(target <= 0)])
    error = float(wrong.mean())
    variance = float(np.sum(wrong * (1 - wrong) / np.array([n, m]))) / 4
    ranks = rankdata(np.concatenate([source, target]))[n:]
    auc = float((ranks.mean() - (m + 1) / 2) / n)
    return DomainShift(2 * (1 - 2 * error), error, 4 * variance**0.5, auc, (n, m))
