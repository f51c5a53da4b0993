"""Objective ``shot``: the body moves until the head, which stays as it is, tells the unlabeled texts apart.

Source hypothesis transfer (Liang et al. 2020, arXiv 2002.08546): no row of the source is read, all that is
left of it is the model. What the head says of each text becomes surer, and of all of them together diverse:
E[H(p)] - H(E p) falls. Texts are also drawn towards the classes of the nearest centroids, which are means of
the texts themselves. It takes classes to be about equally common: where one is rare in the target, diversity
asks for more of it than there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textlabel.errors import RecipeError
from textlabel.objective import OverTexts, entropy_of_mean, mean_entropy, read_rows, without_dropout
from textlabel.types import IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

NAME = "shot"
ROLES = frozenset({"unlabeled"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})
FREEZES = frozenset({"head"})

#: how often centroids are drawn: first of what the head says, then of the classes that this gave
ROUNDS = 2


@dataclass(frozen=True)
class Options:
    """How much each term counts beside the mean entropy.

    Parameters
    ----------
    diversity : weight of -H(E p), which wants classes that are equally common in a batch.
    pseudo : weight of cross-entropy with the classes of the nearest centroids; 0: these are not computed.
    """

    diversity: float = 1.0
    pseudo: float = 0.3

    def __post_init__(self) -> None:
        if self.diversity < 0 or self.pseudo < 0:
            raise RecipeError(
                f"shot: diversity = {self.diversity}, pseudo = {self.pseudo}; expected 0 or more of both"
            )


class Objective(OverTexts):
    """Information maximization, and classes of centroids that are drawn anew each epoch.

    These classes depend on the weights at the beginning of an epoch, which a run that goes on in its middle
    no longer has: they are buffers of a module, so that a checkpoint holds them. Beside another objective
    with a shorter epoch they last for as many steps as all rows take.
    """

    def __init__(self, options: Options, context: Context) -> None:
        import torch
        from torch import nn

        super().__init__(options, context)
        self.steps = 0
        self.pseudo = nn.Module()
        rows = len(context.rows["unlabeled"])
        self.pseudo.register_buffer("labels", torch.zeros(rows, dtype=torch.int64, device=context.device))
        #: steps for which they last
        self.pseudo.register_buffer("left", torch.zeros((), dtype=torch.int64, device=context.device))

    def modules(self) -> Mapping[str, nn.Module]:
        """Return what holds the classes of the centroids; nothing of it trains."""
        return {"model": self.pseudo}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return one epoch of unlabeled rows, in batches as equal as can be."""
        found = list(super().batches(size, rng))
        self.steps = len(found)
        yield from found

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch."""
        from torch.nn.functional import cross_entropy

        index = batch.index["unlabeled"]
        targets = self._targets(index) if self.options.pseudo else None
        logits = read_rows(self.context, "unlabeled", index).logits
        loss: Tensor = mean_entropy(logits) - self.options.diversity * entropy_of_mean(logits)
        if targets is not None:
            loss = loss + self.options.pseudo * cross_entropy(logits, targets)
        return loss

    def _targets(self, index: IntArray) -> Tensor:
        """Return the classes (b,) of the centroids for the rows of a step; each epoch draws them anew."""
        import torch

        labels, left = self.pseudo.get_buffer("labels"), self.pseudo.get_buffer("left")
        if not int(left):
            labels.copy_(self._nearest())
            left.fill_(self.steps)
        left.sub_(1)
        return labels[torch.from_numpy(index).to(labels.device)]

    def _nearest(self) -> Tensor:
        """Return the class of the nearest centroid for every row (n,), by the model as it would label."""
        import torch

        everything = np.arange(len(self.context.rows["unlabeled"]))
        with torch.no_grad(), without_dropout(self.context.classifier):
            found = read_rows(self.context, "unlabeled", everything)
        return nearest_centroids(found.features, found.logits.softmax(dim=-1))


def nearest_centroids(features: Tensor, probabilities: Tensor) -> Tensor:
    """Return the class (n,) of the centroid that is nearest by cosine on [z, 1], after two rounds.

    Centroids c_k = sum_i p_ik z_i / sum_i p_ik are first drawn of probabilities (n, k), then of the classes
    that these gave; to cosines a mean and a sum are the same. A class that no row has gets none.

    Parameters
    ----------
    features : (n, d), z.
    """
    import torch
    from torch.nn.functional import normalize, one_hot

    with torch.autocast(features.device.type, enabled=False):
        ones = torch.ones_like(features[:, :1])
        rows = normalize(torch.cat([features, ones], dim=1).double(), dim=1)
        shares = probabilities.double()
        for _ in range(ROUNDS):
            cosines = rows @ normalize(shares.T @ rows, dim=1).T
            labels: Tensor = cosines.masked_fill(shares.sum(dim=0) == 0, -torch.inf).argmax(dim=1)
            shares = one_hot(labels, probabilities.shape[1]).double()
    return labels
