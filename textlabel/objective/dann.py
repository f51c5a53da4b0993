"""Objective ``dann``: cross-entropy on the source, and features that do not tell the domains apart.

A discriminator learns to tell labeled source rows from unlabeled target rows, and the body learns the
opposite by its reversed gradient (Ganin et al. 2016, arXiv 1505.07818). The discriminator always trains by
its whole gradient: only what is reversed is scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textlabel.objective import Adversarial, check_adversary

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch

NAME = "dann"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})
INCLUDES = frozenset({"cross_entropy"})


@dataclass(frozen=True)
class Options:
    """How hard the body works against the discriminator.

    Parameters
    ----------
    reversal : largest factor lambda of the reversed gradient; it rises to it as in the paper.
    warm : share of the steps, in [0, 1), during which the factor is 0 and the discriminator learns alone.
    hidden : units of the discriminator's hidden layer.
    """

    reversal: float = 0.5
    warm: float = 0.1
    hidden: int = 256

    def __post_init__(self) -> None:
        check_adversary("dann", self.reversal, self.warm, self.hidden)


class Objective(Adversarial):
    """Means over the source rows, and over the rows of either domain, of a batch."""

    splits: ClassVar[bool] = True

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return this share of the discriminator's loss: the mean of one domain plus that of the other."""
        losses = [
            self.told_apart(role, output.features, batch).sum() / batch.total[role]
            for role, output in found.items()
        ]
        return sum(losses[1:], losses[0])
