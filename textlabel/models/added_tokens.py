"""A backbone with more tokens: the tables of a transformer grow by a row for each, all else stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from textlabel.errors import BackboneError
from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import require_one
from textlabel.models.domain_words import Word
from textlabel.models.masked_lm import find_masked_lm


def require_growing(backbone: Backbone) -> None:
    """Raise a `BackboneError` unless its vocabulary can grow: it is a transformer with a fast tokenizer."""
    require_one(backbone.info, "the vocabulary that grows is of", "name one of them")
    reason = ""
    if backbone.info.kind == "static":
        reason = "it is static: a new token would say what its pieces say"
    elif getattr(backbone.tokenizer, "backend_tokenizer", None) is None:
        reason = "its tokenizer is not of the fast kind"
    if reason:
        raise BackboneError(
            f"the vocabulary of backbone {backbone.info.public_name!r} cannot grow ({reason}); expected a "
            "transformer with a fast tokenizer: choose another backbone"
        )


def add_tokens(backbone: Backbone, words: Sequence[Word]) -> nn.Module:
    """Give the backbone a token for each word, and return what is to be saved as its body.

    The row of a new token, and its bias where scores over the vocabulary have one, is the mean of those of
    its pieces; every other number stays as it is. Of a checkpoint with a masked-language head that head is
    kept, so what is returned holds it.
    """
    from tokenizers import AddedToken

    tokenizer = backbone.tokenizer
    # the space before a word is part of it, as it is of pieces: left alone it would become one more piece
    made = [AddedToken(w.text, single_word=w.spaced, lstrip=True, normalized=True) for w in words]
    tokenizer.add_tokens(made)
    ids = [int(tokenizer.convert_tokens_to_ids(w.text)) for w in words]
    masked, _ = find_masked_lm(backbone.folder)
    model: Any = backbone.body if masked is None else masked
    rows = max(model.get_input_embeddings().num_embeddings, len(tokenizer), *(i + 1 for i in ids))
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for table in _tables(model):
            for number, word in zip(ids, words, strict=True):
                table[number] = table[list(word.pieces)].mean(dim=0)
    return model  # type: ignore[no-any-return]


def _tables(model: Any) -> list[torch.Tensor]:
    """Return what has a row for each token: token vectors, and weights and bias of scores; none twice."""
    rows = model.get_input_embeddings().num_embeddings
    scores = model.get_output_embeddings()
    found = [model.get_input_embeddings().weight]
    found += [] if scores is None else [p for p in (scores.weight, scores.bias) if p is not None]
    unique = {id(p): p for p in found if len(p) == rows}
    return list(unique.values())
