"""Backing off: where a class is too unsure, the deepest node of the label tree that is sure enough."""

from __future__ import annotations

import numpy as np

from textlabel.label_tree import LabelTree
from textlabel.types import FloatArray, IntArray

#: what rounding may take from a probability
_ROUNDING = 1e-9


def deepest_nodes(probabilities: FloatArray, tree: LabelTree, level: float) -> tuple[IntArray, FloatArray]:
    """Return the deepest node (n,) whose probability is at least ``level``, and that probability (n,).

    A node is as probable as the classes below it together. Of several as deep, which there can be only where
    ``level`` is at most a half, the most probable is taken. Where probabilities are calibrated, nodes are
    right at least as often as ``level`` says: each is at least as probable as that.

    Parameters
    ----------
    probabilities : (n, k) calibrated, in class order.
    level : probability in (0, 1].

    Returns
    -------
    numbers into ``tree.nodes``, -1 where none is sure enough, and probabilities, NaN there.

    Examples
    --------
    >>> tree = LabelTree(("lost", "new", "stolen"), (("lost", "card"), ("stolen", "card")))
    >>> probabilities = np.array([[0.5, 0.1, 0.4], [0.95, 0.0, 0.05], [0.4, 0.5, 0.1]])
    >>> found, sure = deepest_nodes(probabilities, tree, 0.9)
    >>> [tree.nodes[i] if i >= 0 else None for i in found], sure.round(2).tolist()
    (['card', 'lost', None], [0.9, 0.95, nan])
    """
    of_node = np.asarray(probabilities, np.float64) @ tree.members.T
    # a probability is at most 1, so 2 a level of depth puts depth first
    order = np.where(of_node >= level - _ROUNDING, 2 * tree.depths + of_node, -1.0)
    found = order.argmax(axis=1)
    rows = np.arange(len(found))
    none = order[rows, found] < 0
    return np.where(none, -1, found), np.where(none, np.nan, np.minimum(of_node[rows, found], 1.0))
