"""Objective ``tent``: what the model says of the unlabeled texts becomes surer.

Test entropy minimization (Wang et al. 2021, arXiv 2006.10726): the mean entropy E[H(p)] of the head's
probabilities falls, and no label is read. The paper trains scale and shift of norms alone, as tune ``norms``
does, and also draws batch statistics anew, which layer norms do not have: so less is gained here. The surest
answer is the same class for every text, and nothing in the paper's loss speaks against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.objective import OverTexts, entropy_of_mean, mean_entropy, read_rows, without_dropout

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch

NAME = "tent"
ROLES = frozenset({"unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})
FREEZES = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """What speaks against one class for every text.

    Parameters
    ----------
    diversity : weight of -H(E p), which wants classes that are equally common in a batch; 0: as in the paper.
    """

    diversity: float = 0.0

    def __post_init__(self) -> None:
        if self.diversity < 0:
            raise RecipeError(f"tent: diversity = {self.diversity}; expected 0 or more")


class Objective(OverTexts):
    """Mean entropy of a batch, less the weighted entropy of its mean; nothing is dropped at any rate."""

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch."""
        with without_dropout(self.context.classifier):
            logits = read_rows(self.context, "unlabeled", batch.index["unlabeled"]).logits
        loss: Tensor = mean_entropy(logits)
        if self.options.diversity:
            loss = loss - self.options.diversity * entropy_of_mean(logits)
        return loss
