"""Which words moved a label: one file, one way to tell. Here is what several of them share.

A plugin has ``NAME`` and ``attribute(question) -> (w,)``: for each word how far it moved ``question.value``,
in its unit. Positive: the word speaks for the label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.errors import PluginError
from textlabel.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.models.classifier import Classifier

Span = tuple[int, int]

DEFAULT_ATTRIBUTION = "leave_one_out"


@dataclass(frozen=True)
class Question:
    """Why a text has its label.

    Parameters
    ----------
    text : as it came.
    words : (start, end) of each word, in characters.
    target : output that is explained; a score has one.
    classifier : what gave the label.
    value : from texts to what is explained, (n,): log-odds of the target (nats) of one class a row, the
        logit of the target of several, or the score.
    """

    text: str
    words: Sequence[Span]
    target: int
    classifier: Classifier
    value: Callable[[Sequence[str]], FloatArray]


def explained(logits: Tensor, target: int, kind: str) -> Tensor:
    """Return what is explained, (b,), of logits (b, k): see `Question`.

    Examples
    --------
    >>> import torch
    >>> explained(torch.tensor([[2.0, 0.5]]), 0, "single").tolist()
    [1.5]
    """
    chosen = logits[:, target]
    if kind != "single":
        return chosen
    others = [k for k in range(logits.shape[1]) if k != target]
    return chosen - logits[:, others].logsumexp(dim=1)


@dataclass(frozen=True)
class Tokens:
    """A text as the body reads it: ids (1, t), and which characters each token stands for (t, 2)."""

    ids: Tensor
    offsets: FloatArray
    #: (t,) bool, tokens that every text has, such as [CLS]
    special: Any


def tokens_of(question: Question, method: str) -> Tokens:
    """Return the tokens of a text.

    Raises
    ------
    PluginError : a model whose tokens are not parts of the text, or that has no gradient.
    """
    import torch

    from textlabel.models.classifier import Frozen

    model, text = question.classifier, question.text
    if model.info.parts or isinstance(model.head, Frozen) or not hasattr(model.body, "config"):
        raise _no_gradient(method, "several backbones, or a head that is not linear, have none")
    if model.info.kind == "static":
        if not hasattr(model.tokenizer, "encode"):
            raise _no_gradient(method, "TF-IDF has none")
        return _of_static(model, text)
    if not model.tokenizer.is_fast:
        raise _no_gradient(method, "this tokenizer does not tell where its tokens lie")
    read = model.tokenizer(
        text,
        truncation=True,
        max_length=model.info.max_length,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    special = np.array(read["special_tokens_mask"], bool)
    ids = torch.tensor([read["input_ids"]], device=next(model.parameters()).device)
    return Tokens(ids, np.array(read["offset_mapping"], float), special)


def _of_static(model: Classifier, text: str) -> Tokens:
    import torch

    from textlabel.models.static import token_ids

    longest = model.info.max_length
    [ids] = token_ids(model.tokenizer, [text], longest)
    read = model.tokenizer.encode(text, add_special_tokens=False)
    places = zip(read.ids[:longest], read.offsets[:longest], strict=True)
    offsets = [span for i, span in places if i in set(ids)]  # the unknown token is left out
    if len(offsets) != len(ids):  # or is all there is
        offsets = [(0, 0)] * len(ids)
    known = torch.tensor([ids], device=next(model.parameters()).device)
    return Tokens(known, np.array(offsets, float), np.zeros(len(ids), bool))


def _no_gradient(method: str, why: str) -> PluginError:
    return PluginError(f"attribution {method!r} needs a gradient for each token: {why}; use leave_one_out")


@contextmanager
def embeddings_as(body: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let the body's token embeddings (b, t, d) be what ``change`` makes of them."""
    layer: Any = getattr(body, "embeddings", None) if not hasattr(body, "get_input_embeddings") else None
    layer = layer if layer is not None else body.get_input_embeddings()  # type: ignore[operator]
    hook = layer.register_forward_hook(lambda _module, _given, found: change(found))
    try:
        yield
    finally:
        hook.remove()


def by_word(scores: FloatArray, offsets: FloatArray, words: Sequence[Span]) -> FloatArray:
    """Return the sum of token scores (t,) over the tokens of each word, (w,); special tokens are of none.

    A token belongs to the word that holds most of its characters, the first of several.

    Examples
    --------
    >>> by_word(np.array([9.0, 1.0, 2.0]), np.array([[0, 0], [0, 2], [2, 4]]), [(0, 4)])
    array([3.])
    """
    starts, ends = np.array([*words], float).reshape(-1, 2).T
    found = np.zeros(len(words))
    for score, (start, end) in zip(scores, offsets, strict=True):
        shared = np.minimum(ends, end) - np.maximum(starts, start)
        if len(shared) and shared.max() > 0:
            found[int(shared.argmax())] += score
    return found
