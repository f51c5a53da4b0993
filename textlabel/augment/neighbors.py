"""Augment ``neighbors``: words are replaced by others whose vectors in the backbone's own table are near.

Near are words that are used alike, and opposites are: "good" may become "bad". Only words that are one token
of the vocabulary are replaced; a text without any comes back as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.augment import check_share, chosen, like, replaceable, whole_words
from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.models.backbone import Backbone

NAME = "neighbors"

#: words whose neighbors are looked up at a time
CHUNK = 256


@dataclass(frozen=True)
class Options:
    """How many words are replaced, and by which.

    Parameters
    ----------
    copies : changed copies of each text.
    share : probability of each word to be replaced, of those that may be; one at least is.
    nearest : among how many nearest words one is drawn.
    """

    copies: int = 1
    share: float = 0.15
    nearest: int = 5

    def __post_init__(self) -> None:
        check_share(NAME, self.share, self.copies)
        if self.nearest < 1:
            raise RecipeError(f"neighbors: nearest = {self.nearest}; expected at least 1")


def augment(
    texts: Sequence[str], rng: np.random.Generator, backbone: Backbone, options: Options
) -> list[str]:
    """Return each text with some words replaced by their neighbors."""
    known = whole_words(backbone)
    found = [[word for word in replaceable(text) if _key(word[0], known)] for text in texts]
    picked = [[words[i] for i in chosen(len(words), options.share, rng)] for words in found]
    asked = sorted({_key(word[0], known) for words in picked for word in words})
    near = nearest_words(_table(backbone), known, asked, options.nearest)
    changed = []
    for text, words in zip(texts, picked, strict=True):
        for word in reversed(words):
            others = near[_key(word[0], known)]
            new = like(others[rng.integers(len(others))], word[0]) if others else word[0]
            text = text[: word.start()] + new + text[word.end() :]
        changed.append(text)
    return changed


def nearest_words(
    table: Tensor, known: dict[str, int], asked: Sequence[str], count: int
) -> dict[str, list[str]]:
    """Return the ``count`` words of the vocabulary nearest to each word asked for by cosine, nearest first.

    Parameters
    ----------
    table : (vocabulary, d) vectors of tokens.
    known : {word: token id}.

    Examples
    --------
    >>> import torch
    >>> table = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> nearest_words(table, {"film": 0, "movie": 1, "phone": 2}, ["film"], 1)
    {'film': ['movie']}
    """
    import torch

    words = [word for word in known if word == word.casefold() or word.casefold() not in known]
    rows = torch.nn.functional.normalize(table[[known[word] for word in words]].float(), dim=-1)
    near: dict[str, list[str]] = {}
    for start in range(0, len(asked), CHUNK):
        some = asked[start : start + CHUNK]
        wanted = torch.nn.functional.normalize(table[[known[word] for word in some]].float(), dim=-1)
        found = (wanted @ rows.T).topk(min(count + 1, len(words))).indices.tolist()
        for word, numbers in zip(some, found, strict=True):
            others = [words[i] for i in numbers if words[i].casefold() != word.casefold()]
            near[word] = others[:count]
    return near


def _key(word: str, known: dict[str, int]) -> str:
    """Return the word as the vocabulary has it, "" if it has not."""
    return next((form for form in (word, word.lower()) if form in known), "")


def _table(backbone: Backbone) -> Tensor:
    module = getattr(backbone.body, "embeddings", None)
    if backbone.info.kind != "static":
        module = backbone.body.get_input_embeddings()  # type: ignore[operator]
    table: Tensor = module.weight.detach()  # type: ignore[union-attr]
    return table
