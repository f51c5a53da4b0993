"""Objective ``mcc``: cross-entropy on the source, and target rows whose classes are not confused.

Minimum class confusion (Jin et al. 2020, arXiv 1912.03699): how often the model takes one class of the target
for another is read from its own probabilities, and made small. Nothing is aligned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.objective import OverDomains, check_strength

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch

NAME = "mcc"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})
INCLUDES = frozenset({"cross_entropy"})


@dataclass(frozen=True)
class Options:
    """How much confusion counts.

    Parameters
    ----------
    strength : weight of the confusion beside cross-entropy.
    temperature : logits of target rows are divided by this; above 1, what is too sure counts as less so.
    """

    strength: float = 1.0
    temperature: float = 2.5

    def __post_init__(self) -> None:
        check_strength("mcc", self.strength)
        if self.temperature <= 0:
            raise RecipeError(f"mcc: temperature = {self.temperature}; expected a positive number")


class Objective(OverDomains):
    """Cross-entropy plus the class confusion of a batch's target rows."""

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return the weighted confusion of the whole batch."""
        import torch

        logits = found["unlabeled"].logits
        with torch.autocast(logits.device.type, enabled=False):
            loss: Tensor = self.options.strength * confusion(logits, self.options.temperature)
        return loss


def confusion(logits: Tensor, temperature: float) -> Tensor:
    """Return the mean over classes of the share, in [0, 1], that is confused with others; of logits (b, k).

    Rows of low entropy count for more: weights of 1 + exp(-H), of mean 1, through which no gradient goes.
    """
    import torch

    p = (logits / temperature).softmax(dim=-1)
    raw = 1 + torch.exp(torch.special.entr(p.detach()).sum(dim=-1).neg())
    weights = raw / raw.mean()
    together = (weights[:, None] * p).T @ p  # (k, k): how much of both classes rows have
    # a class of which no row has anything is confused with none
    shares = together / together.sum(dim=1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    return (shares.sum() - shares.trace()) / len(shares)
