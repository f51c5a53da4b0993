"""A BERT-family encoder written out for labeling: nothing is computed that no feature depends on.

It has the weights of the classifier's body, and its numbers, with three differences that change only the
time: queries, keys and values are one matrix product; where the feature is the first token's, the last layer
computes that token alone; and on a CPU linear maps are kept in oneDNN's own layout. Other families run as
transformers wrote them.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from textlabel.engine.packed import pack, packable
from textlabel.models.classifier import Classifier, pool, token_vectors, unit_length

#: families whose layers are exactly those of BERT
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")


def encoder_of(classifier: Classifier, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return what `written_out` gives, ready to run fast where the body is."""
    encoder = written_out(classifier)
    if dtype != torch.float32:
        encoder = copy.deepcopy(encoder).to(dtype)
    on_cpu = next(classifier.body.parameters()).device.type == "cpu"
    return pack(encoder) if isinstance(encoder, Encoder) and on_cpu and packable(dtype) else encoder


def written_out(classifier: Classifier) -> nn.Module:
    """Return a module from padded ids and mask (b, t) to features (b, d), in eval mode.

    It shares the classifier's weights, which stay as they are.
    """
    return (Encoder(classifier) if _is_plain_bert(classifier) else Features(classifier)).eval()


def _is_plain_bert(classifier: Classifier) -> bool:
    """Return whether the body is of `FAMILIES`, without an update that is still being trained around it."""
    config = classifier.body.config
    named = dict(classifier.body.named_modules())
    linear = [
        module for name, module in named.items() if name.endswith((".dense", ".query", ".key", ".value"))
    ]
    return (
        getattr(config, "model_type", "") in FAMILIES
        and not getattr(config, "is_decoder", False)
        and all(type(module) is nn.Linear for module in linear)  # peft puts its own modules in their place
    )


class Features(nn.Module):
    """Any body with its pooling."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.body, self.info = classifier.body, classifier.info

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features (b, d)."""
        info = self.info
        hidden = token_vectors(self.body, ids, mask, info.layers)
        return pool(hidden.float(), mask, info.pooling, info.normalize, info.layers)


class Encoder(nn.Module):
    """BERT's forward pass for features only."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        body: Any = classifier.body
        info = classifier.info
        self.pooling, self.normalize, self.read = info.pooling, info.normalize, info.layers
        table = body.embeddings
        #: RoBERTa counts positions over what is not padding, from the padding's own number on
        self.padding = None if body.config.model_type == "bert" else int(table.padding_idx)
        # a text has one segment, so its vector and those of the positions are one table
        places = table.position_embeddings.weight[self.padding or 0 :] + table.token_type_embeddings.weight[0]
        self.words = nn.Buffer(table.word_embeddings.weight.detach(), persistent=False)
        self.places = nn.Buffer(places.detach(), persistent=False)
        self.norm = table.LayerNorm
        #: modules of the body are shared, not copied; `pack` puts others in their place here, not there
        self.layers = nn.ModuleList(Layer(layer) for layer in body.encoder.layer)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features (b, d), float32."""
        x = self.norm(functional.embedding(ids, self.words) + self._places(ids))
        seen = mask[:, None, None, :].to(torch.bool)
        last = len(self.layers) - 1
        pooled: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            x = layer(x, seen, first_only=number == last and self.pooling == "cls")
            if number > last - self.read:
                pooled.append(pool(x.float(), mask[:, : x.shape[1]], self.pooling, normalize=False))
        features = torch.cat(pooled[::-1], dim=-1)
        return unit_length(features, self.read) if self.normalize else features

    def _places(self, ids: Tensor) -> Tensor:
        """Return the vectors of the tokens' positions, (t, d) or (b, t, d)."""
        if self.padding is None:
            return self.places[: ids.shape[1]]
        there = (ids != self.padding).to(torch.int64)
        return functional.embedding(there.cumsum(dim=1) * there, self.places)


class Layer(nn.Module):
    """Attention and feed-forward of one BERT layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads, self.width = attention.num_attention_heads, attention.attention_head_size
        parts = (attention.query, attention.key, attention.value)
        self.inputs = nn.Linear(
            parts[0].in_features, 3 * parts[0].out_features, device=parts[0].weight.device
        )
        with torch.no_grad():
            self.inputs.weight.copy_(torch.cat([part.weight for part in parts]))
            self.inputs.bias.copy_(torch.cat([part.bias for part in parts]))
        self.output, self.norm = layer.attention.output.dense, layer.attention.output.LayerNorm
        self.up, self.activation = layer.intermediate.dense, layer.intermediate.intermediate_act_fn
        self.down, self.last_norm = layer.output.dense, layer.output.LayerNorm

    def forward(self, x: Tensor, seen: Tensor, first_only: bool) -> Tensor:
        """Return (b, t, d), or (b, 1, d) of the first token only."""
        b, t = x.shape[0], x.shape[1]
        q, k, v = self.inputs(x).view(b, t, 3, self.heads, self.width).permute(2, 0, 3, 1, 4).unbind(0)
        if first_only:
            q, x = q[:, :, :1], x[:, :1]
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = self.norm(x + self.output(found.transpose(1, 2).flatten(2)))
        normed: Tensor = self.last_norm(x + self.down(self.activation(self.up(x))))
        return normed
