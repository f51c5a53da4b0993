"""Objective ``mixup``: cross-entropy of mixed features and mixed labels (Guo et al. 2019, arXiv 1905.08941).

The features of each text are mixed with those of another text of its batch, and so are the labels. The larger
share is the text's own (Chen et al. 2020, arXiv 2004.12239).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textlabel.errors import RecipeError
from textlabel.objective import OverRows

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch

NAME = "mixup"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"head"})


@dataclass(frozen=True)
class Options:
    """How much is mixed.

    Parameters
    ----------
    alpha : shares are drawn from Beta(alpha, alpha), for each row; small values mix little.
    """

    alpha: float = 0.4

    def __post_init__(self) -> None:
        if self.alpha <= 0:
            raise RecipeError(f"mixup: alpha = {self.alpha}; expected a positive number")


class Objective(OverRows):
    """Mean over the labeled rows of a batch, each mixed with one other; a batch is mixed as a whole."""

    splits: ClassVar[bool] = False

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch; shares and partners come from the generator of the step."""
        import torch

        index = batch.index["labeled"]
        features = self.context.output("labeled", index).features
        draw = torch.distributions.Beta(self.options.alpha, self.options.alpha).sample((len(index),))
        share = torch.maximum(draw, 1 - draw).to(features)
        partner = torch.randperm(len(index)).to(features.device)
        targets = self.context.targets("labeled", index)
        return mixed_loss(self.context.classifier.head, features, targets, partner, share)


def mixed_loss(head: nn.Module, features: Tensor, targets: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Return the mean cross-entropy of each row mixed with its partner.

    Parameters
    ----------
    head : from features (b, d) to logits (b, k), in float32.
    targets : (b,) classes.
    partner : (b,) which row each is mixed with.
    share : (b,) how much of each mixed row is the row itself, in [0, 1].
    """
    import torch
    from torch.nn.functional import cross_entropy

    own = share[:, None]
    with torch.autocast(features.device.type, enabled=False):
        logits = head(own * features + (1 - own) * features[partner])
    losses = [cross_entropy(logits, wanted, reduction="none") for wanted in (targets, targets[partner])]
    loss: Tensor = (share * losses[0] + (1 - share) * losses[1]).mean()
    return loss
