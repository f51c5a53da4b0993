"""Priors on the weights of classes that belong together: steps of a scale, or leaves of a tree. numpy only.

A softmax head has weights (k, d) over features. Here they are ``mixing @ V`` with a ridge penalty on V, which
is the prior that the weights of two classes vary together as ``mixing @ mixing.T`` says. What comes of it is
a linear softmax head like any other.

*Ordered classes*: one row of V, and the mixing is where each class stands on the scale. That is the
adjacent-categories model: ``log p_k / p_(k-1) = w.x + b_k - b_(k-1)`` (Agresti, Analysis of Ordinal
Categorical Data).

*Trees*: the weights of a leaf are the sum of what each node from the top down to it adds, with a penalty on
each part, so that classes below one node shrink toward each other. Given the inner node right above leaves
this is a softmax over them, and the probability of a node is the sum over the leaves below it: there is
nothing to make consistent. A softmax of its own at each inner node did worse
(`recipes/benchmarks/few_labels_structure.py`).
"""

from __future__ import annotations

import numpy as np

from textlabel.label_tree import LabelTree
from textlabel.types import FloatArray, LabelSchema

#: shares of the prior variance that belongs to the scale; less than all of it is the softmax of free classes
ORDERED_SHARES = (1.0, 0.0)
#: shares of the prior variance that belongs to the inner nodes
TREE_SHARES = (0.3, 0.0)


def mixings(schema: LabelSchema) -> dict[float, FloatArray | None]:
    """Return the mixings (k, m) worth trying, by the share that classes have in common, the usual one first.

    Share 0 is None: each class has weights of its own.

    Examples
    --------
    >>> mixings(LabelSchema("single", ("a", "b")))
    {0.0: None}
    >>> mixings(LabelSchema("single", ("low", "high"), ordered=True))[1.0].round(1).tolist()
    [[-1.0], [1.0]]
    """
    tree = schema.tree
    if tree is not None:
        return {share: tree_mixing(tree, share) if share else None for share in TREE_SHARES}
    if schema.ordered:
        return {share: scale_mixing(schema.outputs) if share else None for share in ORDERED_SHARES}
    return {0.0: None}


def scale_mixing(k: int) -> FloatArray:
    """Return (k, 1) where each of k ordered classes stands, with mean 0 and variance 1."""
    steps = np.arange(k) - (k - 1) / 2
    return np.asarray(steps / steps.std())[:, None]


def tree_mixing(tree: LabelTree, share: float) -> FloatArray:
    """Return (k, k), whose product with its transpose is the covariance of the classes' weights.

    Each class has variance 1. Two have in common ``share`` times the part of the tree's inner levels on which
    they are below the same node.
    """
    above = tree.members[: len(tree.inner)].astype(np.float64)
    covariance = share * (above.T @ above) / max(above.sum(axis=0).max(), 1.0)
    np.fill_diagonal(covariance, 1.0)
    return np.linalg.cholesky(covariance)
