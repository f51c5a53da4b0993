"""A written-out encoder over tokens laid end to end: nothing is computed for padding.

On a GPU attention over texts of different lengths is one kernel (FlashAttention, Dao 2023, arXiv 2307.08691),
where the installed torch has it. Elsewhere the same numbers come from padded attention, which is slower; the
rest of the encoder is the same code on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from textlabel.batching import Padded
from textlabel.engine.encoder import Encoder, Layer
from textlabel.models.classifier import unit_length


@dataclass(frozen=True)
class Flat:
    """Tokens of b texts, end to end.

    Parameters
    ----------
    ids, places : (n,) token ids, and the row of each in the table of places.
    starts : (b + 1,) int32; text i is tokens ``starts[i]`` to ``starts[i + 1]``.
    longest : tokens of the longest text.
    """

    ids: Tensor
    places: Tensor
    starts: Tensor
    longest: int

    @classmethod
    def of(cls, batch: Padded, device: torch.device, padding: int | None = None) -> Flat:
        """Return the tokens of right-padded ids and mask (b, t), on ``device``.

        Parameters
        ----------
        padding : as `Encoder.padding`: the token that has place 0 and is not counted, or None.
        """
        ids, mask = batch
        there, lengths = mask.astype(bool), mask.sum(axis=1)
        if padding is None:
            places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        else:
            counted = ids != padding
            places = counted.cumsum(axis=1) * counted
        starts = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
        return cls(
            _sent(ids[there], device),
            _sent(places[there], device),
            _sent(starts, device),
            int(lengths.max()),
        )

    @property
    def lengths(self) -> Tensor:
        """Tokens of each text, (b,)."""
        return self.starts.diff()


def _sent(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device; a GPU takes it from pinned memory while it still computes."""
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class FlatEncoder(nn.Module):
    """The numbers of an `Encoder`, whose modules it shares, without padding."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, flat: Flat) -> Tensor:
        """Return features (b, d), float32."""
        encoder = self.encoder
        words = functional.embedding(flat.ids, encoder.words)
        x = encoder.norm(words + functional.embedding(flat.places, encoder.places))
        pooled_first = encoder.pooling == "cls"
        last = len(encoder.layers) - 1
        pooled: list[Tensor] = []
        for number, layer in enumerate(encoder.layers):
            x = through(layer, x, flat, first_only=pooled_first and number == last)
            if number > last - encoder.read:
                pooled.append(self._pool(x.float(), flat))
        features = torch.cat(pooled[::-1], dim=-1)
        return unit_length(features, encoder.read) if encoder.normalize else features

    def _pool(self, x: Tensor, flat: Flat) -> Tensor:
        """Return one vector a text (b, d), from those of its tokens (n, d) or of its first (b, d)."""
        if self.encoder.pooling != "cls":
            return torch.segment_reduce(x, self.encoder.pooling, lengths=flat.lengths)
        return x if len(x) == len(flat.lengths) else x[flat.starts[:-1]]


def through(layer: Any, x: Tensor, flat: Flat, first_only: bool) -> Tensor:
    """Return token vectors (n, d) above a `Layer`, or (b, d) of the first token of each text only."""
    assert isinstance(layer, Layer)
    q, k, v = layer.inputs(x).view(len(x), 3, layer.heads, layer.width).unbind(1)
    starts, longest = flat.starts, flat.longest
    if first_only:
        q, x = q[flat.starts[:-1]], x[flat.starts[:-1]]
        starts, longest = torch.arange(len(x) + 1, dtype=torch.int32, device=x.device), 1
    found = attend(q, k, v, starts, flat.starts, longest, flat.longest)
    x = layer.norm(x + layer.output(found.flatten(1)))
    made: Tensor = layer.last_norm(x + layer.down(layer.activation(layer.up(x))))
    return made


def attend(
    q: Tensor, k: Tensor, v: Tensor, q_starts: Tensor, k_starts: Tensor, q_longest: int, k_longest: int
) -> Tensor:
    """Return attention of each text to itself, (queries, heads, width).

    Parameters
    ----------
    q, k, v : (queries or tokens, heads, width).
    q_starts, k_starts : (b + 1,) int32, where each text begins among the queries and among the tokens.
    q_longest, k_longest : most queries and most tokens of a text.
    """
    if q.is_cuda and has_kernel(q.dtype):
        from torch.nn.attention.varlen import varlen_attn

        return cast("Tensor", varlen_attn(q, k, v, q_starts, k_starts, q_longest, k_longest))
    here, there = _filled(q_starts, q_longest), _filled(k_starts, k_longest)
    query, key, value = (
        _spread(part, filled).transpose(1, 2) for part, filled in ((q, here), (k, there), (v, there))
    )
    padded = functional.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
    return padded.transpose(1, 2)[here]


def has_kernel(dtype: torch.dtype) -> bool:
    """Return whether the installed torch has the kernel for that precision; it has since 2.10."""
    if dtype not in (torch.bfloat16, torch.float16):
        return False
    try:
        from torch.nn.attention import varlen
    except ImportError:
        return False
    return hasattr(varlen, "varlen_attn")


def _filled(starts: Tensor, longest: int) -> Tensor:
    """Return which places (b, longest) of each text hold a token."""
    return torch.arange(longest, device=starts.device) < starts.diff()[:, None]


def _spread(part: Tensor, filled: Tensor) -> Tensor:
    """Return (b, longest, heads, width) with zeros where no token is."""
    spread = part.new_zeros((*filled.shape, *part.shape[1:]))
    spread[filled] = part
    return spread


class Queue:
    """Batches on a device, their features one batch behind, so that the device never waits.

    While it computes a batch, the next is padded, sent and queued.

    Parameters
    ----------
    encoder : on ``device``.
    """

    def __init__(self, encoder: FlatEncoder, device: torch.device) -> None:
        self.encoder, self.device = encoder, device

    def features(self, batches: Iterable[Padded]) -> Iterator[npt.NDArray[np.float32]]:
        """Return the features (b, d) of each batch of ids and mask (b, t), in order."""
        running: _Running | None = None
        for batch in batches:
            queued = self._start(batch)
            if running is not None:
                yield running.wait()
            running = queued
        if running is not None:
            yield running.wait()

    def _start(self, batch: Padded) -> _Running:
        with torch.inference_mode():
            found = self.encoder(Flat.of(batch, self.device, self.encoder.encoder.padding))
            if self.device.type == "cpu":
                return _Running(found, None)
            # its copy is queued before the next batch is: a later one would wait for that, too
            host = torch.empty(found.shape, pin_memory=True)
            host.copy_(found, non_blocking=True)
            done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record()
            return _Running(host, done)


@dataclass(frozen=True)
class _Running:
    """Features (b, d) that are there once the event has come."""

    found: Tensor
    done: Any

    def wait(self) -> npt.NDArray[np.float32]:
        if self.done is not None:
            self.done.synchronize()
        features: npt.NDArray[np.float32] = self.found.numpy()
        return features
