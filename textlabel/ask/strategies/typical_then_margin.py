"""Strategy ``typical_then_margin``: typical rows while there are few labels, then small margins in balance.

With few labels what a model is unsure of tells little (Hacohen et al. 2022, arXiv 2202.02794); with more,
margins do best (Schröder et al. 2022, arXiv 2107.05687). They are taken from a random part of the rows, so
that a round is not all of one kind.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from textlabel import registry
from textlabel.ask import Ints, Pool

NAME = "typical_then_margin"
NEEDS: tuple[str, ...] = ()
#: labels a class, on average, from which on margins are asked
FEW = 4
#: share of the open rows from which margins are taken, and rows that it has at least, in rounds
SHARE, LEAST = 0.25, 10


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return rows by the one or the other."""
    seen = np.unique(pool.labels[pool.labeled])
    if pool.probabilities is None or len(pool.labeled) < FEW * pool.classes or len(seen) < 2:
        return _of("typiclust", pool, count, rng)
    rows = pool.open()
    some = rng.permutation(rows)[: max(int(SHARE * len(rows)), LEAST * count)]
    hidden = np.full(len(pool.labels), -1)
    hidden[pool.labeled] = pool.labels[pool.labeled]
    inside = np.sort(np.concatenate([some, pool.labeled]))
    part = replace(
        pool,
        features=pool.features[inside],
        labels=hidden[inside],
        probabilities=pool.said()[inside],
        votes=None,
        groups=None if pool.groups is None else pool.groups[inside],
    )
    return inside[_of("class_balanced_margin", part, count, rng)]


def _of(name: str, pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return what another strategy proposes."""
    found: Ints = registry.load("strategy", name).propose(pool, count, rng)
    return found
