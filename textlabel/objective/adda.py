"""Objective ``adda``: the body goes on from a fitted classifier until the target looks like its source.

ADDA (Tzeng et al. 2017, arXiv 1702.05464): a discriminator learns to tell what the source model says of
source rows from what the adapted body says of target rows, and in a step of its own the body learns to have
target rows taken for source rows: the loss of inverted labels. The head stays as the stages before left it.
BERT forgets the classes by that; so the softened probabilities of source rows are kept near those of the
source model, by t^2 KL (Ryu & Lee 2020, arXiv 2010.11478).

The source model is the classifier before the first step. It is frozen, so what it says of the source rows,
read once and without dropout, is all that is kept of it: no second body is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from textlabel.errors import RecipeError
from textlabel.objective import Alternating
from textlabel.protocols import MODEL

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch, Context
    from textlabel.types import IntArray

NAME = "adda"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})

DISCRIMINATOR = "discriminator"


@dataclass(frozen=True)
class Options:
    """How much of the source model is kept, and what works against the body.

    Parameters
    ----------
    keeper : weight of the divergence from the source model's probabilities on source rows; 0: plain ADDA.
    temperature : t, by which logits are divided there.
    warm : share of the steps, in [0, 1), in which the discriminator learns alone: what it says is random at
        first, and the body would follow it.
    hidden : units of the discriminator's hidden layer.
    """

    keeper: float = 1.0
    temperature: float = 20.0
    warm: float = 0.1
    hidden: int = 256

    def __post_init__(self) -> None:
        if self.keeper < 0 or self.temperature <= 0 or not 0 <= self.warm < 1 or self.hidden < 1:
            raise RecipeError(
                f"adda: keeper = {self.keeper}, temperature = {self.temperature}, warm = {self.warm}, "
                f"hidden = {self.hidden}; expected 0 or more, a positive number, a share in [0, 1), and 1 or "
                "more"
            )


class Objective(Alternating):
    """Means over the rows of either domain of a batch; no label is read."""

    players: ClassVar[tuple[str, ...]] = (MODEL, DISCRIMINATOR)
    splits: ClassVar[bool] = True

    def __init__(self, options: Options, context: Context) -> None:
        from textlabel.models.domains import Discriminator

        super().__init__(options, context)
        self.discriminator = Discriminator(context.classifier.head.in_features, options.hidden)
        self.source = self._source_model()

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the discriminator, a player of its own."""
        return {DISCRIMINATOR: self.discriminator}

    def rests(self, player: str, progress: float) -> bool:
        """Return whether the body waits for the discriminator."""
        return player == MODEL and progress < self.options.warm

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the loss of one player."""
        some = {role: index for role, index in batch.index.items() if len(index)}
        find = self._adapted if player == MODEL else self._told_apart
        losses = [find(role, index) / batch.total[role] for role, index in some.items()]
        found: Tensor = sum(losses[1:], losses[0])
        return found

    def _adapted(self, role: str, index: IntArray) -> Tensor:
        """Return the body's sum over rows: being told from the source, or the distance from its model."""
        found = self._read(role, index)
        if role == "unlabeled":
            self.leave(role, index, found.features)
            return self._taken_for(found.features, source=True)
        before, after = self._of_source(self.source.logits, index), self._classes(found.features)
        return float(self.options.keeper) * divergence(before, after, self.options.temperature)

    def _told_apart(self, role: str, index: IntArray) -> Tensor:
        """Return the discriminator's sum over rows: of the source model, or of the body as it was read."""
        if role == "labeled":
            return self._taken_for(self._of_source(self.source.features, index), source=True)
        return self._taken_for(self.taken(role, index), source=False)

    def _taken_for(self, features: Tensor, source: bool) -> Tensor:
        """Return the summed loss of taking rows (b, d) for rows of the source, or of the target."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        with torch.autocast(features.device.type, enabled=False):
            odds = self.discriminator(features)
            wanted = torch.full_like(odds, float(source))
            return binary_cross_entropy_with_logits(odds, wanted, reduction="sum")

    def _classes(self, features: Tensor) -> Tensor:
        """Return logits (b, k) by the head as it is: a gradient goes through it, none to it."""
        import torch
        from torch.nn import Linear
        from torch.nn.functional import linear

        head = self.context.classifier.head
        assert isinstance(head, Linear)  # another kind of head has no stage after it
        with torch.autocast(features.device.type, enabled=False):
            return linear(features / self.scale, head.weight.detach(), head.bias.detach())

    def _source_model(self) -> Output:
        """Return what the classifier says of every source row now, in eval mode: it is the source model."""
        import torch

        classifier = self.context.classifier
        training = classifier.training
        with torch.no_grad():
            classifier.eval()
            found = self._read("labeled", np.arange(len(self.context.rows["labeled"])))
        classifier.train(training)
        return found

    def _of_source(self, kept: torch.Tensor, index: IntArray) -> Tensor:
        import torch

        return kept[torch.from_numpy(index).to(kept.device)]


def divergence(before: Tensor, after: Tensor, temperature: float) -> Tensor:
    """Return t^2 KL(before || after) of classes softened by t, summed over rows of logits (b, k).

    Its gradient is of the size of that of cross-entropy, whatever t.
    """
    from torch.nn.functional import kl_div

    logs = [(logits / temperature).log_softmax(dim=1) for logits in (after, before)]
    return temperature**2 * kl_div(logs[0], logs[1], reduction="sum", log_target=True)
