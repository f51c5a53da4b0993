"""Strategy ``margin``: rows whose two likeliest classes are closest ("breaking ties").

Schröder et al. 2022, arXiv 2107.05687.
"""

from __future__ import annotations

import numpy as np

from textlabel.ask import Ints, Pool, lowest, margins

NAME = "margin"
NEEDS = ("probabilities",)


def propose(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """Return the rows with the smallest margin."""
    rows = pool.open()
    return lowest(margins(pool.said()[rows]), rows, count, rng)
