"""TF-IDF of character n-grams behind the interface of a static backbone, with a linear map folded in.

A text is the set of its n-grams that labeled texts have, too. Its features are the sum of these n-grams'
vectors, each as heavy as it is rare, over the length of the weights: what a linear map makes of TF-IDF rows
of unit length. N-grams are known by hash; whoever has the model can find out which they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from textlabel.models.backbone import Backbone
from textlabel.models.backbone_info import BackboneInfo
from textlabel.models.static import StaticModel, StaticOutput
from textlabel.types import FloatArray, IntArray

#: lengths of the n-grams, which are taken within words padded by a space on each side
SIZES = (2, 3, 4)
#: n-grams of a text that are read
MOST_NGRAMS = 1 << 16
#: a text without a known n-gram has this one, whose vector is zero
UNKNOWN = 0


def ngrams(text: str) -> list[int]:
    """Return the hashes of the different n-grams of a text, in the order in which they come.

    Examples
    --------
    >>> len(ngrams("Ab ab"))  # " a", "ab", "b ", " ab", "ab ", " ab "
    6
    """
    found: dict[int, None] = {}
    for word in text.lower().split():
        padded = f" {word} "
        for size in SIZES:
            for i in range(max(len(padded) - size + 1, 1)):
                found[zlib.crc32(padded[i : i + size].encode())] = None
            if len(padded) <= size:
                break  # a longer n-gram would be the same again
    return list(found)


class NGrams:
    """From texts to the ids of the n-grams that are known.

    Parameters
    ----------
    hashes : (v,) of the known n-grams, ascending; the id of one is its place, counted from 1.

    Examples
    --------
    >>> NGrams(np.sort(ngrams("ab"))).ids(["ab", "xy"], 100)[1]
    [0]
    """

    def __init__(self, hashes: IntArray) -> None:
        self.hashes = hashes

    def ids(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return the first known n-grams of each text."""
        return [self._of(text)[:max_length] or [UNKNOWN] for text in texts]

    def _of(self, text: str) -> list[int]:
        wanted = np.array(ngrams(text), dtype=np.int64)
        place = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        found: list[int] = (place[self.hashes[place] == wanted] + 1).tolist()
        return found


class NGramModel(StaticModel):
    """The vectors of n-grams, scaled so that their mean is what the module's docstring says.

    Parameters
    ----------
    table : (v + 1, k) float32, the first row of the unknown n-gram.
    idf : (v + 1,) float32, weights of the n-grams.
    """

    idf: torch.Tensor

    def __init__(self, table: torch.Tensor, idf: torch.Tensor) -> None:
        super().__init__(table, UNKNOWN)
        self.register_buffer("idf", idf)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: object
    ) -> StaticOutput:
        """Return vectors (b, t, k), whose mean over a text's n-grams is that text's features."""
        weight = self.idf[input_ids]
        mask = torch.ones_like(weight) if attention_mask is None else attention_mask.to(weight.dtype)
        weight = weight * mask
        length = weight.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)
        scale = weight * mask.sum(dim=1, keepdim=True) / length
        return StaticOutput(self.embeddings(input_ids) * scale.unsqueeze(-1))


def backbone_of(hashes: IntArray, idf: FloatArray, table: FloatArray) -> Backbone:
    """Return n-grams (v,), ascending, with weights (v,) and vectors (v, k), as a backbone in eval mode."""
    first = np.zeros((1, table.shape[1]))
    body = NGramModel(
        torch.from_numpy(np.concatenate([first, table]).astype(np.float32)),
        torch.from_numpy(np.append(0.0, idf).astype(np.float32)),
    )
    return Backbone(INFO, Path(), body.eval(), NGrams(hashes))


def without_ngrams() -> Backbone:
    """Return what stands for the backbone until there are texts."""
    return backbone_of(np.zeros(1, np.int64), np.zeros(1), np.zeros((1, 1)))


INFO = BackboneInfo(
    name="tf-idf",
    sha256="",
    tokenizer_sha256="",
    origin="data",
    kind="static",
    pooling="mean",
    normalize=False,
    max_length=MOST_NGRAMS,
)


def save_ngrams(body: torch.nn.Module, tokenizer: NGrams, folder: Path) -> None:
    """Write n-grams as `load_ngrams` reads them."""
    folder.mkdir(parents=True)
    tensors = {
        "embeddings": body.get_parameter("embeddings.weight").detach().cpu().contiguous(),
        "idf": body.get_buffer("idf").cpu().contiguous(),
        "ngrams": torch.from_numpy(tokenizer.hashes),
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def load_ngrams(tensors: dict[str, torch.Tensor]) -> tuple[NGramModel, NGrams]:
    """Return the body and the tokenizer that `save_ngrams` wrote."""
    return NGramModel(tensors["embeddings"], tensors["idf"]), NGrams(tensors["ngrams"].numpy())
