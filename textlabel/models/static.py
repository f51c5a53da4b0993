"""Static backbones: one vector a token, no context; a text is the mean of its tokens' vectors.

Model2Vec (Tulkens and van Dongen, 2024) publishes such tables, distilled from sentence encoders.
`StaticModel` offers the little of a transformer's interface that features and heads use, so that the
rest of textlabel need not know the difference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tokenizers import Tokenizer

from textlabel.errors import BackboneError


@dataclass(frozen=True)
class StaticOutput:
    """What `StaticModel` returns: ``last_hidden_state`` of shape (texts, tokens, dimension)."""

    last_hidden_state: torch.Tensor


class StaticModel(torch.nn.Module):
    """A table of token vectors behind the interface of a transformer.

    Parameters
    ----------
    table : (vocabulary, dimension) float32.
    unknown : id of the unknown token; its vector is zero and stays so in training, because the
        published model leaves unknown tokens out.

    Examples
    --------
    >>> model = StaticModel(torch.eye(3), unknown=1)
    >>> model(torch.tensor([[0, 1]])).last_hidden_state.tolist()
    [[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    >>> model.config.hidden_size
    3
    """

    def __init__(self, table: torch.Tensor, unknown: int) -> None:
        super().__init__()
        rows, columns = table.shape
        self.config = SimpleNamespace(model_type="static", vocab_size=rows, hidden_size=columns)
        self.embeddings = torch.nn.Embedding(rows, columns, padding_idx=unknown)
        with torch.no_grad():
            self.embeddings.weight.copy_(table)
            self.embeddings.weight[unknown] = 0.0

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> StaticOutput:
        """Return the tokens' vectors; the mask is for whoever takes their mean."""
        return StaticOutput(self.embeddings(input_ids))


def load_static(folder: Path) -> tuple[StaticModel, Any]:
    """Return a static backbone and its tokenizer, which adds no special tokens.

    Vectors of n-grams (`textlabel.models.ngrams`) have a tokenizer of their own.

    The mean of ``last_hidden_state`` over the ids that `token_ids` gives, scaled to unit length
    afterwards where the registry says so, is the published model's embedding.

    Raises
    ------
    BackboneError : a file is missing or damaged, or table and vocabulary do not fit.
    """
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / "model.safetensors")
        if "ngrams" in tensors:
            from textlabel.models.ngrams import load_ngrams

            return load_ngrams(tensors)
        table = tensors["embeddings"]
        spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        # Its post-processor would wrap each text in [CLS] and [SEP], which were never averaged.
        tokenizer = Tokenizer.from_str(json.dumps(spec | {"post_processor": None}))
        unknown = _unknown(tokenizer)
    except Exception as error:  # tokenizers raises nothing more precise for a damaged file
        raise BackboneError(
            f"{folder}: not a static backbone ({error}); expected model.safetensors with a tensor "
            "'embeddings' and a WordPiece tokenizer.json"
        ) from error
    if table.ndim != 2 or len(table) < tokenizer.get_vocab_size():
        raise BackboneError(
            f"{folder}: a table of shape {tuple(table.shape)} for a vocabulary of "
            f"{tokenizer.get_vocab_size()} tokens; expected one row a token"
        )
    return StaticModel(table, unknown), tokenizer


def save_static(body: torch.nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a static backbone as `load_static` reads it."""
    from safetensors.torch import save_file

    if not isinstance(tokenizer, Tokenizer):
        from textlabel.models.ngrams import save_ngrams

        save_ngrams(body, tokenizer, folder)
        return
    folder.mkdir(parents=True)
    table = body.get_parameter("embeddings.weight").detach().cpu().contiguous()
    save_file({"embeddings": table}, folder / "model.safetensors", {"format": "pt"})
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


def token_ids(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return the known tokens among the first ``max_length`` of each text.

    A text without any becomes the unknown token alone, whose vector is zero: no text is empty, so
    means are defined everywhere.
    """
    if not isinstance(tokenizer, Tokenizer):
        found: list[list[int]] = tokenizer.ids(texts, max_length)
        return found
    unknown = _unknown(tokenizer)
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [[i for i in text.ids[:max_length] if i != unknown] or [unknown] for text in encoded]


def _unknown(tokenizer: Tokenizer) -> int:
    token = getattr(tokenizer.model, "unk_token", None)
    found = tokenizer.token_to_id(token) if token else None
    if found is None:
        raise BackboneError("its vocabulary has no unknown token")
    return found
