"""Strategy ``random``: any rows, which is what others must beat."""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool

NAME = "random"
NEEDS: tuple[str, ...] = ()


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return random rows."""
    return rng.permutation(pool.open())[:count]
