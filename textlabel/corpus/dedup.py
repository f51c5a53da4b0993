"""Exact duplicates: rows that must stay on one side of every split."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from textlabel.types import IntArray


def text_key(text: str) -> str:
    """Return what two exact duplicates share: NFC, case folded, white space folded.

    The key only groups rows, it never replaces a text. So it is wide on purpose: grouping two rows
    that a model could tell apart costs a split almost nothing, while a duplicate on both sides of
    one makes every estimate made there too good. Punctuation stays, for it may carry the label
    ("sure." and "sure?").

    Examples
    --------
    >>> text_key("  So\\n GOOD! ") == text_key("so good!")
    True
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def groups(texts: Iterable[str]) -> IntArray:
    """Return (n,) group numbers, equal for exact duplicates, in order of first appearance.

    Examples
    --------
    >>> groups(["Good", "bad", "good "]).tolist()
    [0, 1, 0]
    """
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text_key(text), len(numbers)) for text in texts], dtype=np.int64)


def contradictions(texts: Sequence[str], labels: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """Return the rows of each set of exact duplicates that do not all bear the same label.

    Examples
    --------
    >>> contradictions(["Fine", "ok", "fine", "ok"], ["good", "good", "bad", "good"])
    [(0, 2)]
    """
    rows: defaultdict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups(texts).tolist()):
        rows[group].append(row)
    return [tuple(same) for same in rows.values() if len({labels[row] for row in same}) > 1]
