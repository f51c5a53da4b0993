"""Objective ``anil``: the body learns to serve a linear head that takes few gradient steps from zero.

MAML with an inner loop on the head alone (Raghu et al. 2020, arXiv 1909.09157). The head starts from zero,
not from learned weights: which class of an episode is which number is arbitrary, so a learned start could
only be the same for all of them, and the softmax ignores what all classes share. The loss of the queries is
differentiated through all inner steps, second order included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.objective import OverEpisodes, check_episode

if TYPE_CHECKING:
    from torch import Tensor

    from textlabel.protocols import Batch

NAME = "anil"
ROLES = frozenset({"tasks"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """What an episode is, and how its head learns.

    Parameters
    ----------
    ways, shots, queries : classes of an episode, and rows of each that teach and that are to be labeled. A
        step takes as many episodes as fit into the batch size, each of another task, and at least one.
    steps : inner steps of the head.
    rate : of the inner steps, in units of one over the mean squared length of a feature.
    """

    ways: int = 5
    shots: int = 5
    queries: int = 5
    steps: int = 10
    rate: float = 5.0

    def __post_init__(self) -> None:
        check_episode(NAME, self.ways, self.shots, self.queries)
        if self.steps < 1 or self.rate <= 0:
            raise RecipeError(
                f"anil: steps = {self.steps}, rate = {self.rate}; expected 1 or more, and a positive number"
            )


class Objective(OverEpisodes):
    """Mean over the episodes of a batch of the mean cross-entropy of their queries."""

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch."""
        import torch
        from torch.nn.functional import cross_entropy, linear

        features = self.features(batch)
        losses = []
        with torch.autocast(features.device.type, enabled=False):
            for support, taught, queries, asked in self.episodes(batch, features):
                rate = self.options.rate / float(support.detach().square().sum(dim=1).mean().clamp(min=1e-12))
                head = adapted_head(support, taught, self.options.steps, rate)
                losses.append(cross_entropy(linear(queries, *head), asked))
        return torch.stack(losses).mean()


def adapted_head(support: Tensor, taught: Tensor, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    """Return weight (ways, d) and bias (ways,) after steps on the mean cross-entropy, from zero.

    The gradient of the inner loss is written out, so that one more differentiates it as any other formula.

    Parameters
    ----------
    support, taught : (n, d) features and (n,) class numbers, from 0, of the rows that teach.
    """
    from torch.nn.functional import linear, one_hot

    wanted = one_hot(taught).to(support)
    weight = support.new_zeros(wanted.shape[1], support.shape[1])
    bias = support.new_zeros(wanted.shape[1])
    for _ in range(steps):
        errors = (linear(support, weight, bias).softmax(dim=1) - wanted) / len(support)
        weight = weight - rate * errors.T @ support
        bias = bias - rate * errors.sum(dim=0)
    return weight, bias
