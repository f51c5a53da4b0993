"""What is minimized: one file, one loss. Here is what several losses share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from textlabel.episodes import Pool, places
from textlabel.errors import RecipeError
from textlabel.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

    from textlabel.protocols import Batch, Context


class OverRows:
    """What losses over labeled rows share: no modules, and epochs that read each row once."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = True

    def __init__(self, options: Any, context: Context) -> None:
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


def balanced_weights(targets: IntArray, classes: int) -> FloatArray:
    """Return one weight a class (classes,) with which each class counts the same in total; mean 1 over rows.

    Examples
    --------
    >>> balanced_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    counts = np.bincount(targets, minlength=classes)
    present = counts > 0
    weights = np.ones(classes)
    weights[present] = len(targets) / (present.sum() * counts[present])
    return weights


def cosines(features: Tensor) -> Tensor:
    """Return the cosine similarity (b, b) of features (b, d), in float32 whatever the pass around it has."""
    import torch
    from torch.nn.functional import normalize

    with torch.autocast(features.device.type, enabled=False):
        unit = normalize(features.float(), dim=-1)
        found: Tensor = unit @ unit.T
        return found


class Episode(NamedTuple):
    """Rows that teach a head and rows that it must label: features, and class numbers within the episode."""

    support: Tensor
    taught: Tensor
    queries: Tensor
    asked: Tensor


class OverEpisodes:
    """What losses over episodes share: in each of a batch's tasks, the first rows of a class teach."""

    players: ClassVar[tuple[str, ...]] = ("model",)
    splits: ClassVar[bool] = False

    def __init__(self, options: Any, context: Context) -> None:
        rows, tasks = context.rows["tasks"], context.tasks
        assert tasks is not None
        self.options, self.context, self.tasks = options, context, tasks
        self.targets = np.asarray(rows.targets)
        self.pool = Pool.of(rows.groups, self.targets, tasks, options.shots + 1)

    def modules(self) -> Mapping[str, nn.Module]:
        """Return no extra modules."""
        return {}

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Mapping[str, IntArray]]:
        """Return an epoch of about as many rows as there are; every task is drawn equally often."""
        each = self.options.shots + self.options.queries
        rows = self.options.ways * each
        together = min(max(size // rows, 1), len(self.pool.tasks))
        for _ in range(-(-len(self.targets) // (together * rows))):
            chosen = rng.permutation(len(self.pool.tasks))[:together]
            drawn = [self.pool.draw(task, self.options.ways, each, rng) for task in chosen]
            yield {"tasks": np.concatenate(drawn)}

    def features(self, batch: Batch) -> Tensor:
        """Return features (b, d) of the rows of a batch."""
        return self.context.output("tasks", batch.index["tasks"]).features

    def episodes(self, batch: Batch, features: Tensor) -> Iterator[Episode]:
        """Yield the episodes of a batch, one a task, of its features."""
        import torch

        index = batch.index["tasks"]
        teaches = places(self.targets[index]) < self.options.shots
        for task in np.unique(self.tasks[index]):
            own = self.tasks[index] == task
            sides = []
            for some in (np.flatnonzero(own & teaches), np.flatnonzero(own & ~teaches)):
                way = np.searchsorted(np.unique(self.targets[index[own]]), self.targets[index[some]])
                sides += [features[torch.from_numpy(some).to(features.device)]]
                sides += [torch.from_numpy(way).to(features.device)]
            yield Episode(*sides)


def check_episode(name: str, ways: int, shots: int, queries: int) -> None:
    """Raise a `RecipeError` unless an episode has two classes, with rows on both sides."""
    if ways < 2 or shots < 1 or queries < 1:
        raise RecipeError(
            f"{name}: ways = {ways}, shots = {shots}, queries = {queries}; expected 2 or more ways, and 1 or "
            "more of the others"
        )
