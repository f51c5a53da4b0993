"""Which words and patterns a text holds, in any script.

Texts and words are compared composed and case-folded (Unicode NFKC, then casefold), so "STRASSE" is "straße",
and a full-width letter is the letter. A word is found where it stands by itself, not within a longer one.
Scripts that write no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) have no such
borders: there a word is found wherever its characters are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache

from textlabel.errors import RecipeError

#: characters of scripts without spaces: Thai and Lao, Burmese, Khmer, kana, Han and their extensions
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
_UNSPACED += "\U00020000-\U0003ffff"


def folded(text: str) -> str:
    """Return a text as words are looked for in it.

    Examples
    --------
    >>> folded("STRASSE") == folded("straße")
    True
    """
    return unicodedata.normalize("NFKC", text).casefold()


@cache
def _marks() -> str:
    """Return vowel signs and accents: they belong to the letter before them, and ``\\w`` knows them not."""
    found = [c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c).startswith("M")]
    return "".join(c for c in found if not re.match(f"[{_UNSPACED}]", c))


def words_pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of the words in a `folded` text.

    Blanks within a word stand for any white space. Of words that begin alike the longest is found.

    Examples
    --------
    >>> bool(words_pattern(["free"]).search(folded("FREE!"))), bool(words_pattern(["free"]).search("freedom"))
    (True, False)
    >>> bool(words_pattern(["很好"]).search("质量很好用"))
    True
    """
    ordered = sorted({folded(word) for word in words}, key=lambda word: (-len(word), word))
    return re.compile("|".join(_standing_alone(word) for word in ordered))


def _standing_alone(word: str) -> str:
    inside = r"\s+".join(re.escape(part) for part in word.split())
    part = f"(?:[^\\W{_UNSPACED}]|[{_marks()}])"
    first, last = word.split()[0][0], word.split()[-1][-1]
    before = f"(?<!{part})" if re.match(part, first) else ""
    after = f"(?!{part})" if re.match(part, last) else ""
    return f"{before}{inside}{after}"


def regex_pattern(pattern: str, case_sensitive: bool, where: str) -> re.Pattern[str]:
    """Return the compiled pattern of a rule, which is searched in the text as it is.

    A pattern with nested repeats, such as ``(a+)+$``, may take time that doubles with each character: nothing
    here stops it.

    Raises
    ------
    RecipeError : it does not compile; ``where`` names the file and the rule.
    """
    try:
        return re.compile(pattern, 0 if case_sensitive else re.IGNORECASE)
    except re.error as error:
        raise RecipeError(
            f"{where}: regex {pattern!r} does not compile: {error}; in TOML write it in single quotes, so "
            "that a backslash stays one"
        ) from error


def weigh(text: str, pattern: re.Pattern[str], weights: Mapping[str, float]) -> float:
    """Return the sum of the weights of the lexicon's words in a text, each as often as it is there."""
    found = pattern.findall(folded(text))
    return sum(weights[" ".join(word.split())] for word in found)
