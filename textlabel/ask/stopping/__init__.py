"""Rules that tell when enough was asked: one file, one rule.

A rule has ``NAME`` and ``stop(rounds)``, which gets what is known after each round, the newest last, and
returns why to stop, in words, or an empty text.
"""

from __future__ import annotations

from dataclasses import dataclass

from textlabel.ask import Floats

#: rounds that a rule looks back on
LAST = 4


@dataclass(frozen=True)
class Round:
    """What is known after a round.

    Parameters
    ----------
    labeled : labels asked by then.
    probabilities : (n, k) of all rows, by the head of the rows that were labeled then.
    budget : labels that may be asked; 0: no limit.
    """

    labeled: int
    probabilities: Floats
    budget: int = 0
