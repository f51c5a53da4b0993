"""Objective ``r_drop``: two passes with different dropout shall say the same.

Cross-entropy, and the divergence of the two passes from each other (Liang et al. 2021, arXiv 2106.14448). It
costs two passes, and without dropout it is cross-entropy: give the stage ``dropout``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.objective import OverRows

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch

NAME = "r_drop"
ROLES = frozenset({"labeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})


@dataclass(frozen=True)
class Options:
    """How much the passes must agree.

    Parameters
    ----------
    alpha : weight of the divergence, as in the paper; the whole is halved, so that without dropout it is
        cross-entropy.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise RecipeError(f"r_drop: alpha = {self.alpha}; expected 0 or more")


class Objective(OverRows):
    """Half of the paper's loss, averaged over the labeled rows of a batch."""

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the global batch."""
        index = batch.index["labeled"]
        first, second = (self.context.output("labeled", index).logits.float() for _ in range(2))
        targets = self.context.targets("labeled", index)
        return r_drop(first, second, targets, self.options.alpha).sum() / batch.total["labeled"]


def r_drop(first: Tensor, second: Tensor, targets: Tensor, alpha: float) -> Tensor:
    """Return the loss (b,) of logits (b, k) of two passes over rows of classes ``targets`` (b,)."""
    from torch.nn.functional import kl_div, log_softmax, nll_loss

    p, q = log_softmax(first, dim=-1), log_softmax(second, dim=-1)
    right = nll_loss(p, targets, reduction="none") + nll_loss(q, targets, reduction="none")
    # `kl_div(a, b)` is the divergence of b from a; both are logarithms
    apart = kl_div(q, p, reduction="none", log_target=True) + kl_div(p, q, reduction="none", log_target=True)
    loss: Tensor = right / 2 + alpha / 4 * apart.sum(dim=-1)
    return loss
