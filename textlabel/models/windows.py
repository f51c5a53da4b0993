"""Texts longer than a body reads: cut, refused, or read in windows that overlap.

A window is a text of its own, from the first character of its first token to the last of its last, and begins
and ends between words. So every backend reads it, and the feature cache knows it, as it would any other text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import BackboneError, CorpusError
from textlabel.types import IntArray

if TYPE_CHECKING:
    from textlabel.models.backbone_info import BackboneInfo

#: of a window's tokens, one in so many is in the next window, too
OVERLAP = 4
#: one in so many places stays free: a piece may have a token more by itself than it had in the text
SLACK = 16
#: texts whose tokens are held at a time; they may be long
CHUNK = 256
#: characters of a text that an error quotes
QUOTE = 40

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Windows:
    """The windows of n texts, in their order.

    Parameters
    ----------
    texts : m >= n windows; of a text that is not too long, the text.
    owner : (m,) number of the text, ascending.
    tokens : (m,) tokens of each window of a long text, 1 of all others.
    """

    texts: list[str]
    owner: IntArray
    tokens: IntArray

    @property
    def counts(self) -> IntArray:
        """Windows of each text, (n,)."""
        return np.bincount(self.owner)

    def pooled(self, features: Float32, pooling: str) -> Float32:
        """Return one row a text (n, d) from one a window (m, d).

        Parameters
        ----------
        pooling : "mean" over windows; "weighted" by their tokens; "max": the largest of each feature. A head
            being linear, logits of the first two are the mean of the windows' logits.
        """
        starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        if pooling == "max":
            most: Float32 = np.maximum.reduceat(features, starts)
            return most
        weight = (self.tokens if pooling == "weighted" else np.ones(len(self.tokens))).astype(np.float32)
        total = np.add.reduceat(features * weight[:, None], starts)
        mean: Float32 = (total / np.add.reduceat(weight, starts)[:, None]).astype(np.float32)
        return mean


def make_windows(
    tokenizer: Any, info: BackboneInfo, texts: Sequence[str], ids: Sequence[str] = ()
) -> Windows | None:
    """Return the windows of texts as ``info.on_long`` asks for them, None if each text is its own.

    Parameters
    ----------
    ids : of the texts' rows, for an error to name.

    Raises
    ------
    CorpusError : ``on_long`` is "fail" and a text is too long; it says which.
    BackboneError : the tokenizer does not tell where its tokens are in a text.
    """
    if info.on_long == "truncate" or info.kind == "static":
        return None
    frame = tokenizer.num_special_tokens_to_add(pair=False)
    size = info.max_length - frame
    found: dict[int, list[tuple[str, int]]] = {}
    for number, spans, words in _read(tokenizer, texts):
        if len(spans) <= size:
            continue
        text = texts[number]
        if info.on_long == "fail":
            row = f"row {ids[number]}: " if ids else ""
            raise CorpusError(
                f"{row}the text that begins with {text[:QUOTE]!r} has {len(spans) + frame} tokens, and this "
                f"model reads {info.max_length}: expected no longer text; cut it, or choose --on-long window"
            )
        cuts = bounds(words, size - size // SLACK)
        found[number] = [(text[spans[a][0] : spans[b - 1][1]], b - a) for a, b in cuts]
    if not found:
        return None
    parts = [found.get(number, [(text, 1)]) for number, text in enumerate(texts)]
    return Windows(
        [text for part in parts for text, _ in part],
        np.repeat(np.arange(len(texts)), [len(part) for part in parts]),
        np.array([tokens for part in parts for _, tokens in part], dtype=np.int64),
    )


def bounds(words: Sequence[int | None], size: int) -> list[tuple[int, int]]:
    """Return where windows of at most ``size`` tokens begin and end: between words, where a word fits.

    Parameters
    ----------
    words : (n,) number of the word of each token.

    Examples
    --------
    >>> bounds(range(20), 8)
    [(0, 8), (6, 14), (12, 20)]
    >>> bounds([0, 0, 0, 1, 1, 1, 2, 2, 2], 4)
    [(0, 3), (3, 6), (6, 9)]
    """

    def parts_a_word(token: int) -> bool:
        return words[token] is not None and words[token] == words[token - 1]

    def between_words(token: int, after: int) -> int | None:
        """Return the last place up to ``token`` where a word begins, None if that is not behind ``after``."""
        return next((place for place in range(token, after, -1) if not parts_a_word(place)), None)

    found, start = [], 0
    while start + size < len(words):
        end = between_words(start + size, start) or start + size  # a word longer than a window is parted
        found.append((start, end))
        shared = max(end - size // OVERLAP, start + 1)
        start = between_words(shared, start) or (shared if parts_a_word(end) else end)
    return [*found, (start, len(words))]


def _read(
    tokenizer: Any, texts: Sequence[str]
) -> Iterator[tuple[int, list[tuple[int, int]], list[int | None]]]:
    """Yield of each text its number, and where in it each token is and of which word it is a part."""
    if texts and not tokenizer.is_fast:
        raise BackboneError(
            "this tokenizer does not tell where its tokens are, so long texts cannot be told or cut into "
            "windows; expected a backbone with tokenizer.json, or --on-long truncate"
        )
    for start in range(0, len(texts), CHUNK):
        read = tokenizer(
            list(texts[start : start + CHUNK]),
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,  # it would warn of the very length that is the matter here
        )
        for number, spans in enumerate(read["offset_mapping"]):
            yield start + number, spans, read.word_ids(number)
