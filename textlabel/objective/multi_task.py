"""Objective ``multi_task``: one body for several tasks, each with a linear head of its own.

The heads are thrown away at the end: what remains is a body that all tasks have shaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from textlabel.batching import shuffled
from textlabel.errors import RecipeError
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context

NAME = "multi_task"
ROLES = frozenset({"tasks"})
LABEL_KINDS = frozenset({"single"})
NEEDS_PARTS = frozenset({"body"})


@dataclass(frozen=True)
class Options:
    """How much each task counts.

    Parameters
    ----------
    power : tasks are met in proportion to their number of rows to this power: 0 equally often, 1 as often as
        they have rows.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise RecipeError(f"multi_task: power = {self.power}; expected 0 to 1")


class Objective:
    """Mean cross-entropy of the rows of a batch, each by the head of its task."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = True

    def __init__(self, options: Options, context: Context) -> None:
        from torch.nn import Linear, ModuleList

        assert context.tasks is not None
        self.options, self.context, self.tasks = options, context, context.tasks
        targets = np.asarray(context.rows["tasks"].targets)
        self.classes = [np.unique(targets[self.tasks == task]) for task in np.unique(self.tasks)]
        width = context.classifier.head.in_features
        self.heads = ModuleList([Linear(width, len(some)) for some in self.classes])

    def modules(self) -> Mapping[str, nn.Module]:
        """Return the heads."""
        return {"model": self.heads}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return an epoch of as many rows as there are, of each task its share; batches mix tasks."""
        counts = np.bincount(self.tasks)
        rows = [
            np.resize(rng.permutation(np.flatnonzero(self.tasks == task)), drawn)
            for task, drawn in enumerate(shares(counts, self.options.power))
        ]
        drawn = np.concatenate(rows)
        for some in shuffled(self.context.rows["tasks"].lengths[drawn], size, rng):
            yield {"tasks": drawn[some]}

    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return this share of the mean over the batch."""
        import torch
        from torch.nn.functional import cross_entropy

        index = batch.index["tasks"]
        features = self.context.output("tasks", index).features
        targets, total = np.asarray(self.context.rows["tasks"].targets)[index], 0.0 * features.sum()
        with torch.autocast(features.device.type, enabled=False):
            for task in np.unique(self.tasks[index]):
                own = np.flatnonzero(self.tasks[index] == task)
                wanted = torch.from_numpy(np.searchsorted(self.classes[task], targets[own]))
                logits = self.heads[task](features[torch.from_numpy(own).to(features.device)])
                total = total + cross_entropy(logits, wanted.to(logits.device), reduction="sum")
        return total / batch.total["tasks"]


def shares(counts: IntArray, power: float) -> IntArray:
    """Return how many rows of each task (t,) an epoch reads, as many in total as there are.

    Examples
    --------
    >>> shares(np.array([100, 400]), 0.5).tolist(), shares(np.array([100, 400]), 0.0).tolist()
    ([167, 333], [250, 250])
    """
    wanted: FloatArray = counts**power / (counts**power).sum() * counts.sum()
    ends = np.round(np.cumsum(wanted)).astype(np.int64)
    found: IntArray = np.diff(ends, prepend=0)
    return found
