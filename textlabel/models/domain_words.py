"""Words of some texts that a tokenizer breaks into many pieces: what would make tokens of their own.

SentencePiece's unigram model (Kudo 2018, arXiv 1804.10959), trained on the texts, says which strings are
worth a piece. Of these, words between boundaries are taken whole; of scripts that are written without spaces,
its pieces are.
"""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from textlabel.errors import CorpusError

#: fewer pieces are cheap enough
LEAST_PIECES = 3
#: a token that is seen in few texts learns little, and may give away who wrote them
LEAST_TEXTS = 3
#: digits in a word from which on it may be the number of a telephone, a card or an account
MOST_DIGITS = 3
#: pieces that SentencePiece may keep; it leaves those away that the texts do not speak for
VOCABULARY = 16_000
#: SentencePiece passes over lines of more than 4192 bytes without a word
LINE = 1000
#: characters of the longest word; SentencePiece by itself takes 16
LONGEST = 32
#: characters of the longest Chinese word; longer strings that come again are phrases
LONGEST_CHINESE = 4
#: what SentencePiece writes for the space before a word
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
#: scripts that put no space between words, as names of their characters begin
UNSPACED = ("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


class Word(NamedTuple):
    """A string that may become one token.

    Parameters
    ----------
    text : as it stands in the texts, in one of the ways that are one to the tokenizer.
    times : how often it stands there; of scripts without spaces, how often as a piece of its own.
    pieces : ids that the tokenizer gives it now.
    spaced : whether it is a word between boundaries, not a piece of a script without spaces.
    """

    text: str
    times: int
    pieces: tuple[int, ...]
    spaced: bool

    @property
    def saved(self) -> int:
        """Pieces that the texts are shorter by if it is one token."""
        return self.times * (len(self.pieces) - 1)


def domain_words(tokenizer: Any, texts: Sequence[str], most: int) -> list[Word]:
    """Return at most ``most`` words of the texts, those first that save the most pieces.

    Parameters
    ----------
    tokenizer : a transformer's, of the fast kind.

    Raises
    ------
    CorpusError : SentencePiece makes no pieces of such texts.
    """
    folded = str.lower if _normalized(tokenizer, "A") == "a" else str
    read = [[folded(line) for line in _lines(text)] for text in dict.fromkeys(texts)]
    processor = _processor([line for lines in read for line in lines])
    known = {processor.id_to_piece(i).lstrip(SPACE) for i in range(processor.get_piece_size())}
    counts: Counter[tuple[str, bool]] = Counter()
    texts_with: Counter[tuple[str, bool]] = Counter()
    for lines in read:
        here = Counter(_candidates(lines, known, processor))
        counts.update(here)
        texts_with.update(here.keys())
    often = Counter({key: count for key, count in counts.items() if texts_with[key] >= LEAST_TEXTS})
    found = [word for word in _merged(tokenizer, often) if len(word.pieces) >= LEAST_PIECES]
    return sorted(found, key=lambda word: (-word.saved, word.text))[:most]


def _candidates(lines: Sequence[str], known: set[str], processor: Any) -> Iterator[tuple[str, bool]]:
    """Yield the words and pieces of a text that may become tokens, and whether each is a word."""
    for word in (word for line in lines for word in words(line)):
        if word in known and sum(map(str.isdigit, word)) <= MOST_DIGITS:
            yield word, True
    if any(unspaced(letter) for line in lines for letter in line):
        for pieces in processor.encode(list(lines), out_type=str):
            bare = (piece.lstrip(SPACE) for piece in pieces)
            yield from ((piece, False) for piece in bare if _is_unspaced_word(piece))


def words(text: str) -> Iterator[str]:
    """Yield the words of a text: runs of letters, marks, digits and underscores, none of an unspaced script.

    These are the boundaries by which a token is found as a whole word.

    Examples
    --------
    >>> list(words("low-cost \N{DEVANAGARI LETTER HA}\N{DEVANAGARI VOWEL SIGN I} 4x4, don't"))[:3]
    ['low', 'cost', '\N{DEVANAGARI LETTER HA}\N{DEVANAGARI VOWEL SIGN I}']
    """
    for inside, run in groupby(text, _in_word):
        word = "".join(run)
        if inside and not any(map(unspaced, word)):
            yield word


@cache
def unspaced(text: str) -> bool:
    """Return whether a text begins with a character of a script that puts no space between words."""
    return unicodedata.name(text[:1], "").startswith(UNSPACED) if text else False


def _is_unspaced_word(piece: str) -> bool:
    chinese = any(unicodedata.name(character, "").startswith("CJK") for character in piece)
    return 1 < len(piece) <= (LONGEST_CHINESE if chinese else LONGEST) and all(map(unspaced, piece))


@cache
def _in_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LMN"


def _lines(text: str) -> Iterator[str]:
    """Yield a text's lines, cut where they are longer than SentencePiece reads."""
    for line in text.replace("\0", " ").splitlines():
        for start in range(0, len(line), LINE):
            yield line[start : start + LINE]


def _processor(lines: Sequence[str]) -> Any:
    """Return SentencePiece trained on lines, which it leaves as they are."""
    import sentencepiece

    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=made,
            model_type="unigram",
            vocab_size=VOCABULARY,
            hard_vocab_limit=False,
            max_sentencepiece_length=LONGEST,
            normalization_rule_name="identity",
            num_threads=1,  # with several the pieces may be others from run to run
            minloglevel=2,
        )
    except RuntimeError as error:
        raise CorpusError(
            f"SentencePiece made no pieces of these texts ({error}); expected some hundred texts or more, "
            f"with fewer than {VOCABULARY} different characters: give texts of one language"
        ) from error
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


def _merged(tokenizer: Any, counts: Counter[tuple[str, bool]]) -> Iterator[Word]:
    """Yield each word once that is one to the tokenizer, whichever way it is written most often."""
    same: dict[tuple[str, bool], list[tuple[str, int]]] = {}
    for (word, spaced), count in counts.items():
        same.setdefault((_normalized(tokenizer, word), spaced), []).append((word, count))
    for (_, spaced), ways in sorted(same.items()):
        word, _ = min(ways, key=lambda way: (-way[1], way[0]))
        pieces = _pieces(tokenizer, word, spaced)
        if pieces:
            yield Word(word, sum(count for _, count in ways), pieces, spaced)


def _pieces(tokenizer: Any, word: str, spaced: bool) -> tuple[int, ...]:
    """Return the ids of a word as it stands within a text; none where the vocabulary lacks a part of it."""
    text = f" {word}" if spaced else word
    ids: list[int] = tokenizer(text, add_special_tokens=False, return_attention_mask=False)["input_ids"]
    if not spaced and ids and tokenizer.convert_ids_to_tokens(ids[0]) == SPACE:
        ids = ids[1:]  # which stands there at the beginning of a text alone
    return () if tokenizer.unk_token_id in ids else tuple(ids)


def _normalized(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.backend_tokenizer.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))
