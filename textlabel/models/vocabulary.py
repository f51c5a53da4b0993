"""How well a tokenizer's vocabulary fits some texts: tokens a word, and tokens that it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

#: share of unknown tokens from which on a backbone is taken not to read the language
UNREAD = 0.2


class Gap(NamedTuple):
    """What a vocabulary makes of texts.

    Parameters
    ----------
    tokens_per_word : tokens for each word between spaces; about 1.3 where a vocabulary was made for such
        texts. Scripts without spaces have few such words, and so a large number.
    unknown : share of the tokens that stand for what the vocabulary lacks, in [0, 1].
    """

    tokens_per_word: float
    unknown: float


def vocabulary_gap(tokenizer: Any, texts: Sequence[str]) -> Gap:
    """Return how far a transformer's tokenizer is from the words of some texts; zeros where there are none.

    The texts are read whole, without the special tokens around them.
    """
    if not texts:
        return Gap(0.0, 0.0)
    # a text longer than the model reads is no reason for a warning here
    options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
    tokens = tokenizer(list(texts), **options)["input_ids"]
    words = sum(len(text.split()) for text in texts)
    return Gap(sum(map(len, tokens)) / max(words, 1), unknown_share(tokenizer, tokens))


def unknown_share(tokenizer: Any, tokens: Iterable[Sequence[int]]) -> float:
    """Return the share of tokens, in [0, 1], that stand for what the vocabulary lacks.

    It is 0 where that cannot be seen: static backbones, and vocabularies that fall back on bytes.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    ends = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "cls", "sep", "pad")}
    if unknown is None or unknown in ends:
        return 0.0
    lacking: list[bool] = [bool(token == unknown) for row in tokens for token in row]
    return sum(lacking) / max(len(lacking), 1)
