"""Stopping rule ``certificate``: by its own confidence the model may label nearly all rows.

A prediction, not a promise: the certificate itself comes from an audit (`textlabel.trust.certificates`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textlabel.ask import Floats
from textlabel.ask.stopping import Round

NAME = "certificate"
#: error that is asked, and share of the rows that the model must then be allowed to label
MAX_ERROR, SHARE = 0.05, 0.95


def stop(rounds: Sequence[Round]) -> str:
    """Return why to stop, or an empty text."""
    if not rounds:
        return ""
    share = predicted_share(rounds[-1].probabilities, MAX_ERROR)
    if share < SHARE:
        return ""
    return f"by its confidence the model may label {share:.0%} of the rows with at most {MAX_ERROR:.0%} wrong"


def predicted_share(probabilities: Floats, max_error: float) -> float:
    """Return the share of the rows, surest first, of which confidence expects so few wrong labels.

    Examples
    --------
    >>> predicted_share(np.array([[0.99, 0.01], [0.95, 0.05], [0.5, 0.5]]), 0.05)
    0.6666666666666666
    """
    expected = 1 - np.sort(probabilities.max(axis=1))[::-1]
    mean = np.cumsum(expected) / np.arange(1, len(expected) + 1)
    fits = np.flatnonzero(mean <= max_error)
    return float((fits[-1] + 1) / len(expected)) if len(fits) else 0.0
