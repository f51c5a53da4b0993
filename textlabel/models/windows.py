"""Texts longer than a body reads: cut, refused, or read in windows that overlap.

A window is a text of its own, from the first character of its first token to the last of its last. So every
backend reads it, and the feature cache knows it, as it would any other text.
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
    from textlabel.models.backbone import BackboneInfo

#: of a window's tokens, one in so many is in the next window, too
OVERLAP = 4
#: texts whose tokens are held at a time; they are long
CHUNK = 64
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


def make_windows(tokenizer: Any, info: BackboneInfo, texts: Sequence[str]) -> Windows | None:
    """Return the windows of texts as ``info.on_long`` asks for them, None if each text is its own.

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
    # a token is one character or more
    for number, spans in _spans(tokenizer, texts, [i for i, text in enumerate(texts) if len(text) > size]):
        if len(spans) <= size:
            continue
        text = texts[number]
        if info.on_long == "fail":
            raise CorpusError(
                f"the text that begins with {text[:QUOTE]!r} has {len(spans) + frame} tokens, and this model "
                f"reads {info.max_length}: expected no longer text; cut it, or choose --on-long window"
            )
        found[number] = [(text[spans[a][0] : spans[b - 1][1]], b - a) for a, b in bounds(len(spans), size)]
    if not found:
        return None
    parts = [found.get(number, [(text, 1)]) for number, text in enumerate(texts)]
    return Windows(
        [text for part in parts for text, _ in part],
        np.repeat(np.arange(len(texts)), [len(part) for part in parts]),
        np.array([tokens for part in parts for _, tokens in part], dtype=np.int64),
    )


def bounds(tokens: int, size: int) -> list[tuple[int, int]]:
    """Return where windows of ``size`` tokens begin and end; the last ends with the text.

    Examples
    --------
    >>> bounds(20, 8)
    [(0, 8), (6, 14), (12, 20)]
    >>> bounds(9, 8)
    [(0, 8), (1, 9)]
    """
    step = size - size // OVERLAP
    starts = [*range(0, tokens - size, step), tokens - size]
    return [(start, start + size) for start in starts]


def _spans(
    tokenizer: Any, texts: Sequence[str], numbers: list[int]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield (number, where each token is in the text) of some texts."""
    if numbers and not tokenizer.is_fast:
        raise BackboneError(
            "this tokenizer does not tell where its tokens are, so long texts cannot be told or cut into "
            "windows; expected a backbone with tokenizer.json, or --on-long truncate"
        )
    for start in range(0, len(numbers), CHUNK):
        some = numbers[start : start + CHUNK]
        read = tokenizer(
            [texts[i] for i in some],
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,  # it would warn of the very length that is the matter here
        )
        yield from zip(some, read["offset_mapping"], strict=True)
