"""Objective ``cdan``: as ``dann``, but the discriminator sees features together with the classes.

It sees the outer product of features and class probabilities, so domains are drawn together class by class
(Long et al. 2018, arXiv 1705.10667). The probabilities are looked at, not trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.objective import Adversarial, check_adversary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch, Context

NAME = "cdan"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})
INCLUDES = frozenset({"cross_entropy"})


@dataclass(frozen=True)
class Options:
    """How hard the body works against the discriminator, and for which rows.

    Parameters
    ----------
    reversal : largest factor lambda of the reversed gradient; it rises to it as in ``dann``.
    warm : share of the steps, in [0, 1), during which the factor is 0 and the discriminator learns alone.
    hidden : units of the discriminator's hidden layer.
    entropy : whether rows whose class is sure count for more (CDAN+E).
    """

    reversal: float = 0.5
    warm: float = 0.1
    hidden: int = 256
    entropy: bool = True

    def __post_init__(self) -> None:
        check_adversary("cdan", self.reversal, self.warm, self.hidden)


class Objective(Adversarial):
    """Means over the source rows, and over the rows of either domain, of a batch; rows share weights."""

    def __init__(self, options: Options, context: Context) -> None:
        from textlabel.models.domains import Joint

        self.joint = Joint(context.classifier.head.in_features, context.schema.outputs)
        super().__init__(options, context)

    def width(self) -> int:
        """Return how many numbers features and classes are together."""
        return self.joint.width

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the discriminator and what it sees through."""
        from torch.nn import ModuleList

        return {"model": ModuleList([self.discriminator, self.joint])}

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return the discriminator's loss: the weighted mean of one domain plus that of the other."""
        import torch

        losses = []
        for role, (logits, features) in found.items():
            p = logits.detach().softmax(dim=-1)
            with torch.autocast(features.device.type, enabled=False):
                losses.append(self.told_apart(role, self.joint(features, p), batch))
            if self.options.entropy:
                losses[-1] = losses[-1] * certainty(p)
        return sum((some.mean() for some in losses[1:]), losses[0].mean())


def certainty(probabilities: Tensor) -> Tensor:
    """Return weights (b,) of mean 1 in proportion to 1 + exp(-H), H being the entropy of (b, k) in nats."""
    import torch

    raw = 1 + torch.exp(torch.special.entr(probabilities).sum(dim=-1).neg())
    return raw / raw.mean()
