"""Does a source help a target, and by how much: every way side by side, with intervals.

step        what is compared, and what the numbers promise
corpora     what is read
variants    models, fitted and judged
parts       what each part of the source is worth
verdicts    what is said in words
"""

from __future__ import annotations

from textlabel.transfer.step import Transfer

__all__ = ["Transfer"]
