"""What says which token stands at a masked place: the head of a masked-language model, without its body.

It reads the vectors of the masked places alone, not of all tokens: scores over a vocabulary are the largest
array of the whole pass. Its last map is the body's own table of token vectors (Press & Wolf 2017, arXiv
1608.05859), which is handed to it each time and is no parameter of it, whether the table trains or not.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

from textlabel.errors import BackboneError
from textlabel.models.classifier import Classifier
from textlabel.models.masked_lm import find_masked_lm

log = logging.getLogger("textlabel")


class LanguageHead(nn.Module):
    """Scores over the vocabulary from the vectors of masked places.

    Parameters
    ----------
    transform : from vectors (m, d) to (m, e), as wide as the body's token vectors.
    bias : (v,), or None.
    table : (v, e) of its own, where a checkpoint ties nothing; None: the body's.
    """

    def __init__(
        self, transform: nn.Module, bias: nn.Parameter | None, table: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        self.transform, self.bias, self.table = transform, bias, table

    def forward(self, vectors: Tensor, table: Tensor) -> Tensor:
        """Return scores (m, v) of vectors (m, d), in float32 whatever the pass around it has.

        Parameters
        ----------
        table : (v, e) the body's token vectors.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            made = self.transform(vectors.float())
            return functional.linear(made, (table if self.table is None else self.table).float(), self.bias)


def language_head(classifier: Classifier) -> tuple[LanguageHead, bool]:
    """Return a language head for the classifier's body, and whether it is new, with random weights.

    Raises
    ------
    BackboneError : the backbone is static, or its tokenizer has no mask token.
    """
    name, reason = classifier.info.public_name, ""
    if classifier.info.kind == "static":
        reason = "it is static: what it makes of a word has no context"
    elif classifier.tokenizer.mask_token_id is None:
        reason = "its tokenizer has no mask token"
    if reason:
        raise BackboneError(
            f"objective 'masked_lm' cannot train backbone {name!r} ({reason}); expected a BERT-like encoder "
            "with a mask token: choose another backbone, or a recipe without it"
        )
    model, reason = find_masked_lm(classifier.folder)
    if model is not None and _maps_to_vocabulary(model):
        return _of_checkpoint(model), False
    log.info("a new language head for %s (%s)", name, reason or "its own has another form")
    return _new(classifier), True


def token_table(body: Any) -> Tensor:
    """Return the token vectors (v, e) in which a body, wrapped by peft or not, looks its inputs up."""
    table: Tensor = body.get_input_embeddings().weight
    return table


def _maps_to_vocabulary(model: Any) -> bool:
    """Return whether the model ends in a linear map to its vocabulary; DeBERTa's newer form does not."""
    last = model.get_output_embeddings()
    return isinstance(last, nn.Linear) and last.out_features == model.get_input_embeddings().num_embeddings


def _of_checkpoint(model: Any) -> LanguageHead:
    last = model.get_output_embeddings()
    own = None if last.weight is model.get_input_embeddings().weight else last.weight
    return LanguageHead(_WithoutBody(model, last), last.bias, own)


class _WithoutBody(nn.Module):
    """All of a family's head but its last map, run by the family's own code on vectors that are given."""

    def __init__(self, model: Any, last: nn.Linear) -> None:
        super().__init__()
        [place] = [name for name, module in model.named_modules() if module is last]
        parent, _, name = place.rpartition(".")
        setattr(model.get_submodule(parent), name, nn.Identity())
        setattr(model, model.base_model_prefix, _Through())
        self.model = model

    def forward(self, vectors: Tensor) -> Tensor:
        """Return what enters the last map (m, e)."""
        found: Tensor = self.model(inputs_embeds=vectors[None]).logits[0]
        return found


class _Through(nn.Module):
    """A body that gives its inputs back."""

    def forward(self, *args: object, inputs_embeds: Tensor, **kwargs: object) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=inputs_embeds)


def _new(classifier: Classifier) -> LanguageHead:
    """Return BERT's head (Devlin et al. 2018, arXiv 1810.04805) with random weights of its usual size."""
    config: Any = classifier.body.config
    tokens, width = token_table(classifier.body).shape
    dense = nn.Linear(int(config.hidden_size), width)
    nn.init.normal_(dense.weight, std=float(getattr(config, "initializer_range", 0.02)))
    nn.init.zeros_(dense.bias)
    norm = nn.LayerNorm(width, eps=float(getattr(config, "layer_norm_eps", 1e-12)))
    return LanguageHead(nn.Sequential(dense, nn.GELU(), norm), nn.Parameter(torch.zeros(tokens)))
