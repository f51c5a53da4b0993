"""Attribution ``integrated_gradients``: gradients on the way from an empty text to this one.

Sundararajan et al. 2017 (arXiv 1703.01365). The empty text has as many tokens, each with the embedding of
padding; special tokens stay. What the words get in all is what the text is worth more than that
(completeness), but for what the sum over `STEPS` misses.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textlabel.attribution import Question, by_word, embeddings_as, explained, tokens_of
from textlabel.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

NAME = "integrated_gradients"
#: points of the way, each in the middle of its stretch
STEPS = 32


def _put(point: Tensor, _found: Tensor) -> Tensor:
    return point


def attribute(question: Question) -> FloatArray:
    """Return the integrated gradient, summed over the tokens of each word, (w,)."""
    import torch

    tokens, model = tokens_of(question, NAME), question.classifier
    special = torch.from_numpy(tokens.special).to(tokens.ids.device)
    blank = torch.where(special, tokens.ids, torch.full_like(tokens.ids, model.pad_id))
    seen: list[torch.Tensor] = []

    def look(embeddings: torch.Tensor) -> torch.Tensor:
        seen.append(embeddings.detach())
        return embeddings

    with torch.no_grad(), embeddings_as(model.body, look):
        for ids in (blank, tokens.ids):
            model(ids, torch.ones_like(ids))
    start, end = seen
    total = torch.zeros_like(end)
    for step in range(STEPS):
        point = (start + (step + 0.5) / STEPS * (end - start)).requires_grad_(True)
        with torch.enable_grad(), embeddings_as(model.body, partial(_put, point)):
            logits = model(tokens.ids, torch.ones_like(tokens.ids)).logits
            value = explained(logits, question.target, model.schema.kind)
        total += torch.autograd.grad(value.sum(), point)[0]
    scores = ((end - start) * total / STEPS).sum(dim=-1)[0].double().cpu().numpy()
    return by_word(scores, tokens.offsets, question.words)
