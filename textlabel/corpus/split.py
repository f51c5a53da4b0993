"""Who is held out: stratified by label, and never an exact duplicate on both sides.

Both splits deal *groups* of rows into bins. The groups that could go wrong are dealt first and one
by one (several labels in one group or row, rare classes, many rows), each to the bin least filled with its
labels, as Sechidis et al. 2011 do (doi 10.1007/978-3-642-23808-6_10). Single rows then even out each class by
the highest-averages method of Adams, which gives every bin a first row of a class before it gives any a
second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError
from textlabel.types import FloatArray, IntArray

Labels = Sequence[str] | IntArray | FloatArray

ATTEMPTS = 20
SCORE_STRATA = 10


def folds(labels: Labels, groups: IntArray, k: int, seed: int) -> IntArray:
    """Return (n,) fold numbers in 0..k-1, stratified by label, with groups kept together.

    No fold is empty, and every fold's training part (the rows of the other folds) has every class. Where a
    row may carry several classes this cannot always be; it then holds for as many as are found.

    Parameters
    ----------
    labels : (n,) class names or numbers; floats are scores, stratified by quantile. (n, k) 0 and 1 are the
        classes that a row carries.
    groups : (n,) equal for exact duplicates, see `textlabel.corpus.dedup.groups`.
    seed : decides which rows go where; the same seed gives the same folds.

    Raises
    ------
    CorpusError : fewer than 2 folds, fewer distinct texts than folds, or a class with only one
        distinct text.

    Examples
    --------
    >>> fold = folds(["a", "a", "a", "b", "b"], np.array([0, 0, 1, 2, 3]), k=2, seed=0)
    >>> bool(fold[0] == fold[1] != fold[2]), bool(fold[3] != fold[4])
    (True, True)
    """
    if k < 2:
        raise CorpusError(f"expected at least 2 folds, got {k}")
    return _split(labels, groups, np.full(k, 1 / k), seed)


def holdout(labels: Labels, groups: IntArray, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return (n,) booleans, true for about ``fraction`` of each class; groups stay together.

    Every class has at least one row on each side. The arguments and errors are those of `folds`.

    Examples
    --------
    >>> int(holdout(["a"] * 8 + ["b"] * 2, np.arange(10), fraction=0.25, seed=0).sum())
    3
    """
    if not 0 < fraction < 1:
        raise CorpusError(f"expected to hold out a fraction between 0 and 1, got {fraction}")
    return np.asarray(_split(labels, groups, np.array([1 - fraction, fraction]), seed) == 1)


def splittable(labels: Labels, groups: IntArray) -> npt.NDArray[np.bool_]:
    """Return (n,) whether a row's class has two distinct texts, so that one can be held out.

    Of scores, and of rows that may carry several classes, all can.

    Examples
    --------
    >>> splittable(["a", "a", "b", "b"], np.array([0, 1, 2, 2])).tolist()
    [True, True, False, False]
    """
    given = np.asarray(labels)
    if given.dtype.kind == "f" or given.ndim == 2:
        return np.ones(len(given), np.bool_)
    codes = np.unique(given, return_inverse=True)[1]
    distinct = np.bincount(
        np.unique(np.stack([codes, groups]), axis=1)[0], minlength=codes.max(initial=-1) + 1
    )
    return np.asarray(distinct[codes] > 1)


def _split(labels: Labels, groups: IntArray, shares: FloatArray, seed: int) -> IntArray:
    """Return (n,) bin numbers, one bin for each of ``shares``."""
    member = np.unique(groups, return_inverse=True)[1]
    names, counts = _strata(np.asarray(labels), member, len(shares))
    _require_enough(names, counts, len(shares))
    rng = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        bins = _deal(counts, shares, rng)
        spread = sum(
            (counts[bins == b].any(axis=0).astype(int) for b in range(len(shares))), np.zeros(len(names))
        )
        if (spread > 1).all():
            return np.asarray(bins[member])
    if np.ndim(labels) == 2:  # classes that overlap may leave no such split
        return np.asarray(bins[member])
    stuck = ", ".join(name for name, bins_with in zip(names, spread, strict=True) if bins_with < 2)
    raise CorpusError(
        f"no split found that leaves {stuck} on both sides: some texts of it are there twice with different "
        "labels; decide on one label for each text, or label more rows"
    )


def _strata(labels: npt.NDArray[np.generic], member: IntArray, parts: int) -> tuple[list[str], IntArray]:
    """Return the name of each stratum, and (groups, strata) how many rows each group has in each."""
    sizes = np.bincount(member)
    if labels.ndim == 2:
        return _class_strata(labels, member)
    if labels.dtype.kind == "f":
        rank = np.argsort(np.argsort(np.bincount(member, weights=labels) / sizes, kind="stable"))
        strata = int(np.clip(len(sizes) // (2 * parts), 1, SCORE_STRATA))
        counts = np.zeros((len(sizes), strata), dtype=np.int32)
        counts[np.arange(len(sizes)), rank * strata // len(sizes)] = sizes
        return [f"score range {i + 1}" for i in range(strata)], counts
    classes, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(sizes), len(classes)), dtype=np.int32)
    np.add.at(counts, (member, codes), 1)
    return [f"class {name!r}" for name in classes.tolist()], counts


def _class_strata(answers: npt.NDArray[np.generic], member: IntArray) -> tuple[list[str], IntArray]:
    """Return the strata of rows that carry several classes: each class, and the rows of none of these.

    What a single text has is no stratum, as it cannot be on both sides.
    """
    counts = np.zeros((member.max() + 1, answers.shape[1] + 1), dtype=np.int32)
    np.add.at(counts, member, np.pad(answers.astype(np.int32), ((0, 0), (0, 1))))
    common = np.flatnonzero((counts > 0).sum(axis=0) > 1)
    np.add.at(counts[:, -1], member, ~answers[:, common].astype(np.bool_).any(axis=1))
    if (counts[:, -1] > 0).sum() > 1:
        common = np.append(common, answers.shape[1])
    return [f"class {c}" for c in common.tolist()], counts[:, common]


def _require_enough(names: list[str], counts: IntArray, parts: int) -> None:
    if len(counts) < parts:
        raise CorpusError(
            f"{len(counts)} distinct texts cannot make {parts} parts; label more rows or use fewer folds"
        )
    for name, distinct in zip(names, (counts > 0).sum(axis=0).tolist(), strict=True):
        if distinct < 2:
            raise CorpusError(
                f"{name} has only one distinct text, which cannot be on both sides of a split; "
                "label more rows of it, or leave it out"
            )


def _deal(counts: IntArray, shares: FloatArray, rng: np.random.Generator) -> IntArray:
    """Return the bin of each group, given (groups, strata) row counts."""
    bins = np.zeros(len(counts), dtype=np.int64)
    filled = np.zeros((len(shares), counts.shape[1]))
    order = rng.permutation(len(counts))
    single = counts[order].sum(axis=1) == 1
    _deal_large(order[~single], counts, shares, bins, filled)
    _deal_single(order[single], counts, shares, bins, filled)
    return bins


def _deal_large(
    order: IntArray, counts: IntArray, shares: FloatArray, bins: IntArray, filled: FloatArray
) -> None:
    """Deal groups one by one into ``bins``, those first that leave the least choice."""
    left = (counts > 0).sum(axis=0)
    mine = counts[order] > 0
    rarest = np.where(mine, left, len(counts) + 1).min(axis=1, initial=len(counts) + 1)
    for group in order[np.lexsort((-counts[order].sum(axis=1), rarest, -mine.sum(axis=1)))]:
        strata = np.flatnonzero(counts[group])
        before = filled[:, strata]
        level = ((before + counts[group, strata]) / counts[:, strata].sum(axis=0)).sum(axis=1) / shares
        # the last group of a class must not join all its others in one bin
        trapped = ((before == before.sum(axis=0)) & (left[strata] == 1)).sum(axis=1)
        bins[group] = chosen = np.lexsort((filled.sum(axis=1) / shares, level, trapped))[0]
        filled[chosen] += counts[group]
        left[strata] -= 1


def _deal_single(
    order: IntArray, counts: IntArray, shares: FloatArray, bins: IntArray, filled: FloatArray
) -> None:
    """Deal groups of one row into ``bins``, stratum by stratum, the smallest first."""
    stratum = counts[order].argmax(axis=1)
    sizes = np.bincount(stratum, minlength=counts.shape[1])
    for s in np.argsort(sizes, kind="stable"):
        seats = filled[:, s, None] + np.arange(sizes[s])  # rows that a bin has before each further one
        levels = (seats / shares[:, None]).ravel()
        crowd = np.repeat(filled.sum(axis=1) / shares, sizes[s])
        taken = np.lexsort((crowd, levels))[: sizes[s]] // max(sizes[s], 1)
        bins[order[stratum == s]] = taken
        filled[:, s] += np.bincount(taken, minlength=len(shares))
