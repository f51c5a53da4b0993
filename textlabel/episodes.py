"""Episodes: small classification problems drawn from larger ones, as the next label set will be one."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from textlabel.errors import TrainingError
from textlabel.types import IntArray

log = logging.getLogger("textlabel")


@dataclass(frozen=True)
class Pool:
    """The rows that episodes are drawn from.

    Parameters
    ----------
    tasks : of each task, the row numbers of each class. No two rows of a task have the same text, so that no
        text is on both sides of an episode.
    """

    tasks: tuple[tuple[IntArray, ...], ...]

    @classmethod
    def of(cls, texts: IntArray, targets: IntArray, tasks: IntArray, least: int) -> Pool:
        """Return the pool of labeled rows; classes of fewer than ``least`` different texts are left out.

        So are texts that a task labels with more than one class, and tasks of which fewer than two classes
        are left.

        Parameters
        ----------
        texts : (n,) equal numbers for equal texts.
        targets, tasks : (n,) class and task of each row.

        Raises
        ------
        TrainingError : no task is left.

        Examples
        --------
        >>> pool = Pool.of(np.array([0, 1, 1, 2, 3]), np.array([0, 0, 0, 1, 1]), np.zeros(5, int), 2)
        >>> [rows.tolist() for rows in pool.tasks[0]]
        [[0, 1], [3, 4]]
        """
        found, few = [], 0
        for task in np.unique(tasks):
            rows = np.flatnonzero(tasks == task)
            classes = _classes(rows, texts[rows], targets[rows])
            large = tuple(some for some in classes if len(some) >= least)
            few += len(classes) - len(large)
            found.append(large)
        kept = tuple(classes for classes in found if len(classes) > 1)
        if not kept:
            raise TrainingError(
                f"no task has two classes of {least} or more different texts, which an episode needs: label "
                "more rows, or set fewer shots in the recipe"
            )
        if few:
            log.warning(
                "%d classes have less than %d different texts, %d of %d tasks fewer than two such: left out",
                *(few, least, len(found) - len(kept), len(found)),
            )
        return cls(kept)

    def draw(self, task: int, ways: int, rows: int, rng: np.random.Generator) -> IntArray:
        """Return row numbers of at most ``ways`` classes of a task, at most ``rows`` of each, class by class.

        Examples
        --------
        >>> pool = Pool(((np.array([0, 1, 2]), np.array([3, 4])),))
        >>> pool.draw(0, 5, 2, np.random.default_rng(0)).tolist()
        [2, 0, 4, 3]
        """
        classes = self.tasks[task]
        chosen = np.sort(rng.permutation(len(classes))[:ways])
        return np.concatenate([rng.permutation(classes[number])[:rows] for number in chosen])


def places(targets: IntArray) -> IntArray:
    """Return for each row how many of its class are before it (n,).

    Examples
    --------
    >>> places(np.array([7, 7, 3, 7])).tolist()
    [0, 1, 0, 2]
    """
    order = np.argsort(targets, kind="stable")
    _, counts = np.unique(targets, return_counts=True)
    found = np.zeros(len(targets), dtype=np.int64)
    found[order] = np.arange(len(targets)) - np.repeat(np.cumsum(counts) - counts, counts)
    return found


def _classes(rows: IntArray, texts: IntArray, targets: IntArray) -> list[IntArray]:
    """Return the rows of each class, one a text, without texts of several classes."""
    _, first, number = np.unique(texts, return_index=True, return_inverse=True)
    one_class = np.ones(len(first), dtype=np.bool_)
    one_class[number[targets != targets[first][number]]] = False
    kept = np.sort(first[one_class])
    return [rows[kept[targets[kept] == target]] for target in np.unique(targets)]
