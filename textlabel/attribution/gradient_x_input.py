"""Attribution ``gradient_x_input``: the gradient at each token's embedding, times it.

Shrikumar et al. 2017 (arXiv 1605.01713). One pass forward and one backward, whatever the length; what it
tells is linear in the embeddings.
"""

from __future__ import annotations

from textlabel.attribution import Question, by_word, embeddings_as, explained, tokens_of
from textlabel.types import FloatArray

NAME = "gradient_x_input"


def attribute(question: Question) -> FloatArray:
    """Return gradient times embedding, summed over the tokens of each word, (w,)."""
    import torch

    tokens, model = tokens_of(question, NAME), question.classifier
    kept: list[torch.Tensor] = []

    def keep(embeddings: torch.Tensor) -> torch.Tensor:
        kept.append(embeddings.detach().requires_grad_(True))
        return kept[-1]

    with torch.enable_grad(), embeddings_as(model.body, keep):
        logits = model(tokens.ids, torch.ones_like(tokens.ids)).logits
        value = explained(logits, question.target, model.schema.kind)
    [gradient] = torch.autograd.grad(value.sum(), kept)
    scores = (gradient * kept[0]).sum(dim=-1)[0].detach().double().cpu().numpy()
    return by_word(scores, tokens.offsets, question.words)
