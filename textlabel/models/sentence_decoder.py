"""What writes a text again from its one vector: a small decoder, which sees nothing else of the text.

Its table of token vectors is the body's own, for what it reads and for what it scores (Press & Wolf 2017,
arXiv 1608.05859). It is handed over each time and is no parameter of the decoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from textlabel.errors import BackboneError
from textlabel.models.classifier import Classifier
from textlabel.models.language_head import token_table

#: places that are scored over the vocabulary at once; scores are the largest array of the whole pass
AT_ONCE = 1024


class SentenceDecoder(nn.Module):
    """Each token of a text from the tokens before it and the text's vector.

    There is one vector to attend to, so what attention to it brings is the same at every place. There is no
    dropout: the noise is in what the body reads.

    Parameters
    ----------
    width : of the text's vector, and of the decoder inside.
    table_width : of the body's token vectors, which may be narrower (ALBERT).
    tokens : size of the vocabulary.
    positions : tokens of the longest text.
    layers, heads : of the decoder.
    spread : standard deviation of new positions.
    """

    def __init__(
        self,
        *,
        width: int,
        table_width: int,
        tokens: int,
        positions: int,
        layers: int,
        heads: int,
        spread: float,
    ) -> None:
        super().__init__()
        self.positions = nn.Embedding(positions, table_width)
        nn.init.normal_(self.positions.weight, std=spread)
        self.norm = nn.LayerNorm(table_width)
        self.enter = nn.Linear(table_width, width)
        self.memory = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        self.leave = nn.Linear(width, table_width)
        self.bias = nn.Parameter(torch.zeros(tokens))

    def forward(self, before: Tensor, vectors: Tensor, table: Tensor) -> Tensor:
        """Return what is compared with the table (b, t, e) to tell the token after each of ``before``.

        Parameters
        ----------
        before : ids (b, t); no place is told of those behind it, so padding on the right needs no mask.
        vectors : (b, d) one a text.
        table : (v, e) the body's token vectors.
        """
        steps = before.shape[1]
        found = functional.embedding(before, table.float()) + self.positions.weight[:steps]
        causal = nn.Transformer.generate_square_subsequent_mask(steps, device=before.device)
        memory = self.memory(vectors)[:, None]
        made = self.layers(self.enter(self.norm(found)), memory, tgt_mask=causal, tgt_is_causal=True)
        left: Tensor = self.leave(made)
        return left

    def loss(self, made: Tensor, targets: Tensor, table: Tensor) -> Tensor:
        """Return the sum of cross-entropies, in nats, of the tokens (m,) at places (m, e).

        Where there are many, their scores are computed again for the gradient, a part at a time.
        """
        if len(made) <= AT_ONCE:
            return self._loss(made, targets, table)
        parts = zip(torch.split(made, AT_ONCE), torch.split(targets, AT_ONCE), strict=True)
        found = [checkpoint(self._loss, *part, table, use_reentrant=False) for part in parts]
        return torch.stack(found).sum()

    def _loss(self, made: Tensor, targets: Tensor, table: Tensor) -> Tensor:
        scores = functional.linear(made, table.float(), self.bias)
        return functional.cross_entropy(scores, targets, reduction="sum")


def sentence_decoder(classifier: Classifier, layers: int) -> SentenceDecoder:
    """Return a new decoder for the classifier's body, with random weights.

    Raises
    ------
    BackboneError : the backbone is static.
    """
    if classifier.info.kind == "static":
        raise BackboneError(
            f"objective 'tsdae' cannot train backbone {classifier.info.public_name!r} (it is static: what it "
            "makes of a word has no context); expected a BERT-like encoder: choose another backbone, or a "
            "recipe without it"
        )
    config: Any = classifier.body.config
    tokens, table_width = token_table(classifier.body).shape
    return SentenceDecoder(
        width=int(config.hidden_size),
        table_width=table_width,
        tokens=tokens,
        positions=classifier.info.max_length,
        layers=layers,
        heads=int(config.num_attention_heads),
        spread=float(getattr(config, "initializer_range", 0.02)),
    )
