"""What both choices share: a random sample of labeled rows, and means with their standard errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from textlabel.engine.run import Task

#: rows of each class that a sample keeps at least, so that every fold can have one
LEAST_OF_CLASS = 5


def sample(task: Task, most: int, seed: int) -> Task:
    """Return the task with at most ``most`` random rows, the first few of each class among them."""
    n = len(task.targets)
    if n <= most:
        return task
    order = np.random.default_rng(seed).permutation(n)
    by_class = order[np.argsort(task.targets[order], kind="stable")]
    counts = np.bincount(task.targets)
    position = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    first = by_class[position < LEAST_OF_CLASS]
    kept = np.sort(np.concatenate([first, order[~np.isin(order, first)]])[:most])
    return replace(task, texts=[task.texts[i] for i in kept], targets=task.targets[kept])


def mean_and_error(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the mean and its standard error, as if rows were independent.

    Examples
    --------
    >>> mean_and_error(np.array([0.0, 2.0]))
    (1.0, 1.0)
    """
    return float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
