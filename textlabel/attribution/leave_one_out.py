"""Attribution ``leave_one_out``: how much less the label is worth without the word.

Li et al. 2016 (arXiv 1612.08220). It asks the model itself, of whatever kind it is, once a word.
"""

from __future__ import annotations

from textlabel.attribution import Question
from textlabel.models.words import without
from textlabel.types import FloatArray

NAME = "leave_one_out"


def attribute(question: Question) -> FloatArray:
    """Return value(text) - value(text without the word) for each word, (w,)."""
    shorter = [without(question.text, [word]) for word in question.words]
    values = question.value([question.text, *shorter])
    change: FloatArray = values[0] - values[1:]
    return change
