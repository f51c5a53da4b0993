"""Rules that tell when enough was asked: one file, one rule.

A rule has ``NAME`` and ``stop(rounds)``, which gets what is known after each round, the newest last, and
returns why to stop, in words, or an empty text.
"""

from __future__ import annotations

from dataclasses import dataclass

from textlabel.ask import Floats


@dataclass(frozen=True)
class Round:
    """What is known after a round.

    Parameters
    ----------
    labeled : rows labeled by then.
    probabilities : (n, k) of all rows, calibrated.
    """

    labeled: int
    probabilities: Floats
