"""Objective ``episodic``: the body learns to serve a head that is fitted in closed form to few rows.

An episode draws classes of one task, some rows of each that teach the head and others that it must label. The
head is the mean of each class (prototypes, Snell et al. 2017, arXiv 1703.05175) or a ridge regression (R2D2,
Bertinetto et al. 2019, arXiv 1805.08136), and the loss goes through it to the body.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textlabel.errors import RecipeError
from textlabel.objective import OverEpisodes, check_episode

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

NAME = "episodic"
ROLES = frozenset({"tasks"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """What an episode is, and which head it fits.

    Parameters
    ----------
    head : "prototype" or "ridge".
    distance : of a text from a prototype: "cosine" or "euclidean" (squared).
    ways, shots, queries : classes of an episode, and rows of each that teach and that are to be labeled. A
        step takes as many episodes as fit into the batch size, each of another task, and at least one.
    scale : by which logits are multiplied at the start; it is learned.
    ridge : penalty at the start; it is learned.
    """

    head: str = "prototype"
    distance: str = "cosine"
    ways: int = 5
    shots: int = 5
    queries: int = 5
    scale: float = 10.0
    ridge: float = 1.0

    def __post_init__(self) -> None:
        check_episode(NAME, self.ways, self.shots, self.queries)
        if self.head not in ("prototype", "ridge") or self.distance not in ("cosine", "euclidean"):
            raise RecipeError(
                f"episodic: head = {self.head!r}, distance = {self.distance!r}; expected 'prototype' or "
                "'ridge', and 'cosine' or 'euclidean'"
            )
        if self.scale <= 0 or self.ridge <= 0:
            raise RecipeError(
                f"episodic: scale = {self.scale}, ridge = {self.ridge}; expected positive numbers"
            )


class Objective(OverEpisodes):
    """Mean over the episodes of a batch of the mean cross-entropy of their queries."""

    def __init__(self, options: Options, context: Context) -> None:
        import torch

        super().__init__(options, context)
        starts = {"scale": math.log(options.scale)}
        if options.head == "ridge":
            starts["ridge"] = math.log(options.ridge)
        #: logarithms of what the head learns
        self.learned = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.tensor(value)) for name, value in starts.items()}
        )

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the scale of the logits, and the penalty of a ridge head."""
        return {"model": self.learned}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of the whole batch."""
        import torch
        from torch.nn.functional import cross_entropy

        features = self.features(batch)
        losses = []
        with torch.autocast(features.device.type, enabled=False):
            for episode in self.episodes(batch, features):
                if self.options.head == "ridge":
                    logits = ridge_logits(*episode[:3], self.learned["ridge"].exp())
                else:
                    logits = prototype_logits(*episode[:3], self.options.distance)
                losses.append(cross_entropy(self.learned["scale"].exp() * logits, episode.asked))
        return torch.stack(losses).mean()


def prototype_logits(support: Tensor, taught: Tensor, queries: Tensor, distance: str) -> Tensor:
    """Return logits (q, ways): cosines with the means of the classes, or minus the squared distances.

    Parameters
    ----------
    support, taught : (n, d) features and (n,) class numbers, from 0, of the rows that teach.
    queries : (q, d) features of the others.
    distance : "cosine" or "euclidean".
    """
    import torch
    from torch.nn.functional import normalize, one_hot

    members = one_hot(taught).to(support)
    means = members.T @ support / members.sum(dim=0)[:, None]
    if distance == "cosine":
        found: Tensor = normalize(queries, dim=-1) @ normalize(means, dim=-1).T
        return found
    return -torch.cdist(queries, means, compute_mode="donot_use_mm_for_euclid_dist").square()


def ridge_logits(support: Tensor, taught: Tensor, queries: Tensor, penalty: Tensor) -> Tensor:
    """Return what a ridge regression on classes as 0 and 1 says of the queries (q, ways).

    As there are fewer rows than features the system is solved among rows. A bias common to all classes, which
    the paper has, changes no probability and is left out.

    Parameters
    ----------
    support, taught, queries : as `prototype_logits`.
    penalty : lambda, a positive scalar.
    """
    import torch
    from torch.nn.functional import one_hot

    wanted = one_hot(taught).to(support)
    between = support @ support.T
    of_rows = torch.linalg.solve(between + penalty * torch.eye(len(support)).to(support), wanted)
    found: Tensor = queries @ support.T @ of_rows
    return found
