"""Batches: padding, length order, token budgets, and each process's share. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from textlabel.types import IntArray

#: right-padded ids and mask, both (b, t) int64
Padded = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

#: batches of training rows among which length decides who shares one
CHUNK_BATCHES = 50


def pad(tokens: Sequence[Sequence[int]], pad_id: int, length: int = 0) -> Padded:
    """Return right-padded ``input_ids`` and ``attention_mask``, both (b, t) int64.

    Parameters
    ----------
    length : t, if it is more than the longest row.

    Examples
    --------
    >>> ids, mask = pad([[5, 6], [7]], pad_id=0, length=3)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6, 0], [7, 0, 0]], [[1, 1, 0], [1, 0, 0]])
    """
    longest = max(max((len(row) for row in tokens), default=0), length, 1)
    ids = np.full((len(tokens), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(tokens):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def by_length(lengths: Sequence[int] | IntArray, budget: int) -> Iterator[IntArray]:
    """Return batches of row numbers, longest rows first, each at most ``budget`` padded tokens.

    Longest first, so that running out of memory happens at once or never. A row longer than the
    budget is a batch of its own.

    Examples
    --------
    >>> [b.tolist() for b in by_length([3, 1, 2, 1], budget=4)]
    [[0], [2, 1], [3]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = start + max(budget // longest, 1)
        yield order[start:stop]
        start = stop


def shuffled(lengths: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Return one epoch in random order, in batches of ``size`` rows of similar length.

    The rows are shuffled, cut into at least four chunks, sorted by length within each, cut into batches, and
    the batches shuffled: every row once, other batch mates each time, little padding.

    Parameters
    ----------
    lengths : (n,) tokens of each row.
    size : rows of a batch; one of them may be short.
    """
    order = rng.permutation(len(lengths))
    chunk = size * min(max(len(lengths) // (4 * size), 1), CHUNK_BATCHES)
    chunks = [order[start : start + chunk] for start in range(0, len(order), chunk)]
    ordered = [rows[np.argsort(-lengths[rows], kind="stable")] for rows in chunks]
    batches = [rows[start : start + size] for rows in ordered for start in range(0, len(rows), size)]
    for number in rng.permutation(len(batches)):
        yield batches[number]


def class_batches(targets: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Return one epoch of batches in which classes are equally frequent, with two rows a class or more.

    No row is twice in a batch. Every row is read at least once, and rows of rarer classes again, until each
    class was read as often as the most frequent one. With more classes than half of ``size`` each batch holds
    some of them. A class of a single row is met by the others, but has no mate.

    Parameters
    ----------
    targets : (n,) class of each row.
    size : at most so many rows a batch; below 6 it counts as 6.

    Examples
    --------
    >>> [b.tolist() for b in class_batches(np.array([0, 0, 0, 1]), 4, np.random.default_rng(0))]
    [[3, 2, 0], [1, 2, 3]]
    """
    order = rng.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    rows = np.split(order, np.flatnonzero(np.diff(targets[order])) + 1)
    each = max(size // len(rows), 2)
    together = max(size // each, 3)  # so that an odd one out is never alone
    for start in range(0, max(map(len, rows)), each):
        drawn = [some[(start + np.arange(min(each, len(some)))) % len(some)] for some in rows]
        classes = rng.permutation(len(drawn))
        for part in np.array_split(classes, -(-len(classes) // together)):
            yield np.concatenate([drawn[number] for number in part])


def share(index: IntArray, rank: int, world: int) -> IntArray:
    """Return the part of a global batch that process ``rank`` of ``world`` computes.

    Every row is in exactly one part; the parts differ in size by at most one row.

    Examples
    --------
    >>> [share(np.arange(5), r, 2).tolist() for r in range(2)]
    [[0, 2, 4], [1, 3]]
    """
    return index[rank::world]
