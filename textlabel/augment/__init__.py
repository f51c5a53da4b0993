"""Changes of texts that mostly keep their labels: one file, one change. What several of them share is here.

A plugin module of kind ``augment`` defines ``NAME``, a frozen dataclass ``Options`` with a field ``copies``
(how many are made of each text) and ``augment(texts, rng, backbone, options)``, which returns each
text changed, never empty, and the same for the same generator. A text that it cannot change comes back as it
is. Whether a change keeps labels is not its business: cross-validation tells.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from textlabel.errors import RecipeError
from textlabel.types import IntArray

if TYPE_CHECKING:
    from textlabel.models.backbone import Backbone

#: letters of scripts that are written without spaces: Thai, Lao, Myanmar, Khmer, kana, Chinese characters
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
#: a piece of a text without spaces: one character or a run of Latin letters or digits, with spaces behind it
_PIECE = re.compile(r"(?:[A-Za-z0-9]+|\S)\s*")
#: a word that may be replaced: letters only, nothing glued to it, and long enough to be no particle
WORD = re.compile(r"(?<![\w'\u2019-])[^\W\d_]{4,}(?![\w'\u2019-])")
#: longer English words that turn a sentence around or hold it together; they are never replaced
_NEVER_REPLACED = (
    "about above after again against almost also although always another anybody anyone anything around "
    "because been before behind being below between both cannot could does doing done down during each "
    "either else enough even ever every everyone everything except from further hardly have having "
    "hence here hers herself himself however into itself just least less many might mine more most much "
    "must myself neither never nobody none nothing nowhere often once only other others ought ours "
    "ourselves over perhaps quite rarely rather really same scarcely seldom shall should since some "
    "somebody someone something sometimes still such than that their theirs them themselves then there "
    "these they this those though through thus together toward towards under unless until upon very "
    "were what whatever when where whether which while whom whose will with within without would your "
    "yours yourself yourselves"
)
_FUNCTION_WORDS = frozenset(_NEVER_REPLACED.split())
#: how tokenizers mark a token that begins a word
_STARTS = ("\u2581", "\u0120")


def pieces(text: str) -> tuple[list[str], str]:
    """Return the pieces of a text that may be moved or left out, and what joins them.

    They are its words. Of a text in a script without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
    they are characters, and runs of Latin letters or digits: of one with at least as many such characters as
    there are words between spaces.

    Examples
    --------
    >>> pieces("not  a bad film")
    (['not', 'a', 'bad', 'film'], ' ')
    >>> pieces("\u624b\u673a iPhone 15 \u5f88\u597d")
    (['手', '机 ', 'iPhone ', '15 ', '很', '好'], '')
    """
    words = text.split()
    if len(_UNSPACED.findall(text)) < max(len(words), 1):
        return words, " "
    return _PIECE.findall(text.strip()), ""


def chosen(n: int, share: float, rng: np.random.Generator) -> IntArray:
    """Return which of ``n`` places are changed, in order: each with probability ``share``, but one at least.

    Examples
    --------
    >>> chosen(5, 0.0, np.random.default_rng(0)).tolist(), chosen(0, 0.5, np.random.default_rng(0)).tolist()
    ([3], [])
    """
    found = np.flatnonzero(rng.random(n) < share)
    return found if len(found) or not n else rng.integers(n, size=1)


def replaceable(text: str) -> list[re.Match[str]]:
    """Return the words of a text that may be replaced.

    Neither numbers, nor what is glued to other signs, nor words of less than four letters, nor English words
    that turn a sentence around ("never") are among them, nor anything in a script without spaces.

    Examples
    --------
    >>> [word[0] for word in replaceable("I never liked the 4-star phone2 screens, don't buy")]
    ['liked', 'screens']
    """
    words = (word for word in WORD.finditer(text) if not _UNSPACED.search(word[0]))
    return [word for word in words if word[0].casefold() not in _FUNCTION_WORDS]


def whole_words(backbone: Backbone) -> dict[str, int]:
    """Return {word: token id} of those tokens that are whole words, and replaceable."""
    vocabulary: dict[str, int] = backbone.tokenizer.get_vocab()
    for start in _STARTS:
        marked = {token[1:]: i for token, i in vocabulary.items() if token.startswith(start)}
        if len(marked) > len(vocabulary) / 10:  # a sign that is a token itself marks nothing
            # a byte-level vocabulary writes other letters as bytes
            vocabulary = {w: i for w, i in marked.items() if start == _STARTS[0] or w.isascii()}
    return {word: i for word, i in vocabulary.items() if [m[0] for m in replaceable(word)] == [word]}


def like(word: str, model: str) -> str:
    """Return a word written as another one: in capitals, with one, or as it is.

    Examples
    --------
    >>> like("film", "Movie"), like("film", "MOVIE"), like("film", "movie")
    ('Film', 'FILM', 'film')
    """
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


def check_share(name: str, share: float, copies: int) -> None:
    """Raise a `RecipeError` unless a share and a number of copies are in range."""
    if not 0 < share < 1 or copies < 1:
        raise RecipeError(
            f"{name}: share = {share}, copies = {copies}; expected a share in (0, 1) and at least one copy"
        )
