"""Objective ``r_drop``: two passes with different dropout shall say the same.

Cross-entropy, and the divergence of the two passes from each other (Liang et al. 2021, arXiv 2106.14448). It
costs two passes, and without dropout it is cross-entropy: give the stage ``dropout``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from textlabel.errors import RecipeError
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

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


class Objective:
    """Half of the paper's loss, averaged over the labeled rows of a batch."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = True

    def __init__(self, options: Options, context: Context) -> None:
        self.options = options
        self.context = context

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one shuffled epoch of rows grouped by length."""
        from textlabel.batching import shuffled

        for index in shuffled(self.context.rows["labeled"].lengths, size, rng):
            yield {"labeled": index}

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
