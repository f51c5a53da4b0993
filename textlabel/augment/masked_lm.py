"""Augment ``masked_lm``: words are masked, and the backbone's masked-language head says what could be there.

It reads the whole text (contextual augmentation: Kobayashi 2018, arXiv 1805.06201), but not the label: a word
that decides it may turn into its opposite. Most sentence encoders come without that head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.augment import check_share, chosen, like, replaceable, whole_words
from textlabel.batching import by_length, pad
from textlabel.errors import RecipeError

if TYPE_CHECKING:
    from textlabel.models.backbone import Backbone

NAME = "masked_lm"

#: padded tokens of one pass
TOKENS = 4096


@dataclass(frozen=True)
class Options:
    """How many words are replaced, and by which.

    Parameters
    ----------
    copies : changed copies of each text.
    share : probability of each word to be replaced, of those that may be; one at least is.
    likeliest : among how many likeliest words one is drawn, by their probabilities.
    """

    copies: int = 1
    share: float = 0.15
    likeliest: int = 10

    def __post_init__(self) -> None:
        check_share(NAME, self.share, self.copies)
        if self.likeliest < 1:
            raise RecipeError(f"masked_lm: likeliest = {self.likeliest}; expected at least 1")


def augment(
    texts: Sequence[str], rng: np.random.Generator, backbone: Backbone, options: Options
) -> list[str]:
    """Return each text with some words replaced by what could be there; those beyond its end stay.

    Raises
    ------
    BackboneError : the backbone has no masked-language head.
    """
    from textlabel.models.masked_lm import load_masked_lm

    model = load_masked_lm(backbone)
    mask = str(backbone.tokenizer.mask_token)
    picked = []
    for text in texts:
        words = replaceable(text) if mask not in text else []
        picked.append([words[i] for i in chosen(len(words), options.share, rng)])
    masked = [_replaced(text, words, [mask] * len(words)) for text, words in zip(texts, picked, strict=True)]
    known = whole_words(backbone)
    offered = _offers(model, backbone, masked, known, options.likeliest + 1)
    changed = []
    for text, words, offers in zip(texts, picked, offered, strict=True):
        # a word may stand behind what the model reads, and a text that has masks of its own has no words here
        seen = list(zip(words, offers, strict=False))
        new = [like(_draw(word[0], *offer, rng), word[0]) for word, offer in seen]
        changed.append(_replaced(text, words[: len(new)], new))
    return changed


def _replaced(text: str, words: Sequence[Any], new: Sequence[str]) -> str:
    for word, other in reversed(list(zip(words, new, strict=True))):
        text = text[: word.start()] + other + text[word.end() :]
    return text


def _offers(
    model: Any, backbone: Backbone, texts: Sequence[str], known: dict[str, int], count: int
) -> list[list[tuple[list[str], np.ndarray[Any, Any]]]]:
    """Return, for each mask of each text, the likeliest words and their probabilities."""
    words, ids = list(known), np.array(list(known.values()))
    found: list[list[tuple[list[str], np.ndarray[Any, Any]]]] = [[] for _ in texts]
    if not words:
        return found
    for index, places, scores in _passes(model, backbone, texts):
        for row, score in zip(index[places], scores[:, ids], strict=True):
            best = np.argsort(-score, kind="stable")[:count]
            weight = np.exp(score[best] - score[best].max())
            found[row].append(([words[i] for i in best], weight / weight.sum()))
    return found


def _passes(
    model: Any, backbone: Backbone, texts: Sequence[str]
) -> Iterator[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Yield row numbers, the row in its batch of each mask, and the scores (masks, vocabulary) there."""
    import torch

    tokens = backbone.encode(texts)
    for index in by_length([len(row) for row in tokens], TOKENS):
        ids, mask = (torch.from_numpy(array) for array in pad([tokens[i] for i in index], backbone.pad_id))
        rows, columns = (ids == backbone.tokenizer.mask_token_id).nonzero(as_tuple=True)
        with torch.no_grad():
            scores = model(input_ids=ids, attention_mask=mask).logits[rows, columns]
        yield index, rows.numpy(), scores.double().numpy()


def _draw(word: str, offers: list[str], weights: np.ndarray[Any, Any], rng: np.random.Generator) -> str:
    """Return one of the words offered, but not the word itself unless there is no other."""
    other = np.array([offer.casefold() != word.casefold() for offer in offers])
    if not other.any():
        return word
    return offers[int(rng.choice(np.flatnonzero(other), p=weights[other] / weights[other].sum()))]
