"""Strategy ``disagreement``: rows on which heads of other rows say other things.

McCallum and Nigam 1998, ICML. Measured by the mean divergence of each head from all of them together.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, lowest
from textlabel.errors import RecipeError

NAME = "disagreement"
NEEDS = ("votes",)


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return the rows with the largest mean KL(p of a head || mean p)."""
    if pool.votes is None:
        raise RecipeError("disagreement needs the votes of several heads")
    rows = pool.open()
    votes = np.maximum(pool.votes[:, rows], 1e-12)
    apart = (votes * (np.log(votes) - np.log(votes.mean(axis=0)))).sum(axis=2).mean(axis=0)
    return lowest(-apart, rows, count, rng)
