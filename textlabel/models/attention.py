"""Attention for training on a CPU, in as few passes over the scores as it takes.

The scores are the largest thing in a training step: for 256 tokens, 3,072 numbers a token in each layer of a
small body. The fused kernel has a slow backward pass; written out under autocast, scores are scaled, masked,
cast to float32 and back, each a pass over memory that is also kept for the backward pass. Here forward and
backward each touch them three times, and what is kept is one copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: what transformers calls it
NAME = "textlabel_lean"
#: difference relative to the largest value that rounding may make between two ways of attention
TOLERANCE = 1e-4


class Attend(torch.autograd.Function):
    """softmax(q k' + mask) v, with the scale in q."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return (b, h, t, d) of q, k, v of that shape and an additive mask (b, 1 or h, t, t)."""
        scores = q @ k.transpose(-1, -2)
        if mask is not None:
            scores.add_(mask)
        weights = torch._softmax(scores, -1, False)  # autocast would make float32 of `softmax`
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of q, k and v."""
        q, k, v, weights = ctx.saved_tensors
        given = gradients[0]
        raw = given @ v.transpose(-1, -2)
        scores = torch._softmax_backward_data(raw, weights, -1, weights.dtype)
        return scores @ k, scores.transpose(-1, -2) @ q, weights.transpose(-1, -2) @ given, None


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return token vectors (b, t, h, d), as transformers calls its ways of attention.

    Parameters
    ----------
    query, key, value : (b, h, t, d); keys and values may have fewer heads.
    attention_mask : (b, 1, t, t), added to the scores.
    dropout : rate at which weights are dropped; only without it are they passed over so rarely.
    scaling : factor on the scores; None: 1 / sqrt(d).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # it is off in the backward pass, which must meet one precision
        query, key, value = (part.to(torch.get_autocast_dtype(kind)) for part in (query, key, value))
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    mask = attention_mask
    if mask is not None:  # of a token that may look nowhere all scores are to be equal, not infinite
        mask = mask.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
    if dropout:
        scores = query @ key.transpose(-1, -2) + (0 if mask is None else mask)
        found = functional.dropout(scores.softmax(-1).to(value.dtype), dropout) @ value
    else:
        found = Attend.apply(query, key, value, mask)  # type: ignore[no-untyped-call]
    return found.transpose(1, 2).contiguous(), None


def lean(body: Any) -> bool:
    """Let ``body`` attend by `attend` if it then says the same, and return whether it does."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, eager_mask)
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
    said = []
    for name in ("eager", NAME):
        body.set_attn_implementation(name)
        with torch.no_grad():
            said.append(body.eval()(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state)
    same = bool((said[0] - said[1])[ids > 0].abs().max() <= TOLERANCE * said[0][ids > 0].abs().max())
    if not same:
        body.set_attn_implementation("eager")
    return same
