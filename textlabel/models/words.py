"""Words of a text, in any script, by where they lie."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

Span = tuple[int, int]

#: scripts that write no spaces: each character is taken for a word
ALONE = re.compile("[\u2e80-\u2fdf\u3040-\u30ff\u31c0-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
#: characters that part no word when they are inside one
INNER = "'\u2019-_\u200c\u200d"


def words(text: str) -> list[Span]:
    """Return (start, end) of each word; a mark of punctuation is a word of its own.

    Letters, digits and the marks that combine with them make up a word, also with an apostrophe or a hyphen
    inside. Characters of Chinese and Japanese are words of their own; Thai and the like stay whole up to the
    next space.

    Examples
    --------
    >>> text = "Don't, 好吃!"
    >>> [text[a:b] for a, b in words(text)]
    ["Don't", ',', '好', '吃', '!']
    """
    found: list[Span] = []
    open_ = False
    for at, letter in enumerate(text):
        if letter.isspace():
            open_ = False
        elif ALONE.match(letter):
            found.append((at, at + 1))
            open_ = False
        elif _joins(text, at, open_):
            start = found.pop()[0] if open_ else at
            found.append((start, at + 1))
            open_ = True
        else:
            found.append((at, at + 1))
            open_ = False
    return found


def _joins(text: str, at: int, inside: bool) -> bool:
    """Return whether a character belongs to the word before it, or begins one."""
    if unicodedata.category(text[at])[0] in "LNM":
        return True
    after = text[at + 1 : at + 2]
    return inside and text[at] in INNER and bool(after) and unicodedata.category(after)[0] in "LNM"


def without(text: str, spans: Collection[Span]) -> str:
    """Return the text without some of its words, and without the space that each leaves.

    Examples
    --------
    >>> without("not very good", [(4, 8)])
    'not good'
    """
    kept: list[str] = []
    at = 0
    for start, end in sorted(spans):
        kept.append(text[at:start])
        at = end + 1 if text[end : end + 1].isspace() and (start == 0 or text[start - 1].isspace()) else end
    return "".join([*kept, text[at:]]).rstrip() if spans else text


def cut(text: str, spans: Sequence[Span]) -> list[str]:
    """Return the words at these places."""
    return [text[start:end] for start, end in spans]
