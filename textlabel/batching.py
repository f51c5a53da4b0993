"""Batches: padding, length order, token budgets, and each process's share. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor


def pad(tokens: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return right-padded ``input_ids`` and ``attention_mask``, both (b, longest) int64.

    Examples
    --------
    >>> ids, mask = pad([[5, 6], [7]], pad_id=0)
    >>> ids.tolist(), mask.tolist()
    ([[5, 6], [7, 0]], [[1, 1], [1, 0]])
    """
    import torch

    longest = max((len(row) for row in tokens), default=0)
    ids = np.full((len(tokens), max(longest, 1)), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(tokens):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


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


def shuffled(n: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Return one epoch of ``n`` rows in random order, in batches of ``size``; the last may be short."""
    order = rng.permutation(n)
    for start in range(0, n, size):
        yield order[start : start + size]


def share(index: IntArray, rank: int, world: int) -> IntArray:
    """Return the part of a global batch that process ``rank`` of ``world`` computes.

    Every row is in exactly one part; the parts differ in size by at most one row.

    Examples
    --------
    >>> [share(np.arange(5), r, 2).tolist() for r in range(2)]
    [[0, 2, 4], [1, 3]]
    """
    return index[rank::world]


def micro(index: IntArray, size: int) -> list[IntArray]:
    """Return the micro-batches of one process's share: at most ``size`` rows each; 0: all at once."""
    if not size or len(index) <= size:
        return [index]
    return [index[start : start + size] for start in range(0, len(index), size)]
