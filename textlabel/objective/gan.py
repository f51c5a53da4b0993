"""Objective ``gan``: labels of few rows, and for all rows to be told from features that a generator makes.

GAN-BERT (Croce et al. 2020, ACL main.191): beside the k classes there is one more, "not of a text".
Labeled rows teach the k classes alone; every row, labeled or not, is to be of one of these, and what the
generator makes of noise is to be of the other. The generator learns to be taken for a text, and to have the
same mean in a hidden layer (feature matching).

The k logits are those of the classifier's own linear head, on the features; the logit of the extra class
comes from a hidden layer of its own, which is also the one that is matched. So body and head are an ordinary
classifier, and extra class and generator are gone when the stage ends. In the paper all k + 1 logits are
linear in one hidden layer.

It sharpens the division that labels begin: on rows that vary most in a direction that tells no class, and
with labels that lie askew, it made the classifier worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textlabel.errors import RecipeError
from textlabel.objective import Alternating, passes
from textlabel.protocols import MODEL

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from textlabel.models.classifier import Output
    from textlabel.protocols import Batch, Context
    from textlabel.types import IntArray

NAME = "gan"
ROLES = frozenset({"labeled", "unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body", "head"})
INCLUDES = frozenset({"cross_entropy"})

GENERATOR = "generator"


@dataclass(frozen=True)
class Options:
    """What counts how much, and how large the networks are.

    Parameters
    ----------
    strength : weight of telling real rows from made ones, beside the cross-entropy of labeled rows.
    matching : weight of the generator's squared distance of means in the hidden layer.
    noise : numbers that a made row is made of.
    hidden : units of the hidden layer of either network.
    dropout : share of these units, in [0, 1), that are left out in training.
    unlabeled : unlabeled rows of a batch; 0: as many as there are labeled rows in it. Where all labels are
        fewer than the batch size, more are worth their time: the extra class is learned from them.
    """

    strength: float = 1.0
    matching: float = 1.0
    noise: int = 100
    hidden: int = 256
    dropout: float = 0.2
    unlabeled: int = 0

    def __post_init__(self) -> None:
        if self.strength < 0 or self.matching < 0 or not 0 <= self.dropout < 1:
            raise RecipeError(
                f"gan: strength = {self.strength}, matching = {self.matching}, dropout = {self.dropout}; "
                "expected 0 or more, 0 or more, and a share in [0, 1)"
            )
        if self.noise < 1 or self.hidden < 1 or self.unlabeled < 0:
            raise RecipeError(
                f"gan: noise = {self.noise}, hidden = {self.hidden}, unlabeled = {self.unlabeled}; expected "
                "1 or more, 1 or more, and 0 or more"
            )


class Objective(Alternating):
    """Means over the labeled rows, over all rows, and over as many made rows, of a whole batch."""

    players: ClassVar[tuple[str, ...]] = (MODEL, GENERATOR)

    def __init__(self, options: Options, context: Context) -> None:
        from textlabel.models.generator import ExtraClass, Generator

        super().__init__(options, context)
        width = context.classifier.head.in_features
        self.extra_class = ExtraClass(width, options.hidden, options.dropout)
        self.generator = Generator(options.noise, options.hidden, width, options.dropout)

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the extra class, which steps with the model, and the generator, which does not."""
        return {MODEL: self.extra_class, GENERATOR: self.generator}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of labeled rows, with as many unlabeled rows each as the options say."""
        steps = list(super().batches(size, rng))
        each = self.options.unlabeled
        if not each:
            yield from steps
            return
        drawn = passes(len(self.context.rows["unlabeled"]), each * len(steps), rng)
        for step, some in zip(steps, drawn.reshape(-1, each), strict=True):
            yield {**step, "unlabeled": some}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of one player on a whole batch."""
        return super().loss(player, batch) if player == MODEL else self._deceiving(batch)

    def transfer(self, found: Mapping[str, Output], batch: Batch) -> Tensor:
        """Return the loss of telling real rows from made ones, which here have no graph."""
        import torch
        from torch.nn.functional import softplus

        for role, output in found.items():
            self.leave(role, batch.index[role], output.features)
        real = torch.cat([output.features for output in found.values()])
        with torch.no_grad():
            made = self.made(len(real))
        # of p, the probability of the extra class: -log(1 - p) of real rows, -log p of made ones
        told: Tensor = softplus(self.odds(real)[0]).mean() + softplus(-self.odds(made)[0]).mean()
        return told * float(self.options.strength)

    def _deceiving(self, batch: Batch) -> Tensor:
        """Return the generator's loss: not taken for a text, and of another mean than texts."""
        import torch
        from torch.nn.functional import softplus

        real = torch.cat([self.taken(role, index) for role, index in batch.index.items() if len(index)])
        with torch.no_grad():
            aim = self.odds(real)[1].mean(dim=0)
        odds, hidden = self.odds(self.made(len(real)))
        apart = (aim - hidden.mean(dim=0)).square().sum()
        return softplus(odds).mean() + apart * float(self.options.matching)

    def made(self, count: int) -> Tensor:
        """Return features (count, d) that the generator makes of new noise, scaled as those of texts."""
        import torch

        from textlabel.models.classifier import unit_length

        with torch.autocast(self.context.device.type, enabled=False):
            found: Tensor = self.generator(count)
        info = self.context.classifier.info
        return self.scale * unit_length(found, info.layers) if info.normalize else found

    def odds(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-odds (b,) of the extra class against the k others together, and the hidden layer.

        By them, a probability that is nearly 0 or 1 has a loss and a gradient; by log(1 - p) it has none.
        """
        import torch

        with torch.autocast(features.device.type, enabled=False):
            logit, hidden = self.extra_class(features)
            classes: Tensor = self.context.classifier.head(features / self.scale)
            return logit - classes.logsumexp(dim=1), hidden
