"""What counts as an error of the model's label, declared before an audit is drawn: one function a label kind.

Each returns (m,) bool from the model's labels and people's answers for the same rows. Where nobody resolved a
row (skipped, unsure, reviewers split) its answer is -1, or NaN for a score, and it counts as ``unresolved``
says: "wrong" by default. Whether that is the cautious reading depends on what is made of it: each certificate
proves it for itself (`textlabel.trust.certificates`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from textlabel.errors import AuditError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Unresolved = Literal["wrong", "right"]


def wrong_class(
    predicted: npt.ArrayLike, answers: npt.ArrayLike, *, unresolved: Unresolved = "wrong"
) -> Bools:
    """Return whether the class differs from the people's.

    Examples
    --------
    >>> wrong_class([0, 1, 2], [0, 2, -1]).tolist()
    [False, True, True]
    """
    said, truth = _paired(predicted, answers, ndim=1)
    return _filled(said != truth, ~(truth >= 0), unresolved)


def wrong_labels(
    predicted: npt.ArrayLike, answers: npt.ArrayLike, *, unresolved: Unresolved = "wrong"
) -> Bools:
    """Return whether each label (m, k) of a multi-label row differs: 1 given, 0 not given, -1 unresolved.

    One certificate a label, with ``alpha`` divided among them, reads a column each.

    Examples
    --------
    >>> wrong_labels([[1, 0], [1, 1]], [[1, 0], [0, -1]]).tolist()
    [[False, False], [True, True]]
    """
    said, truth = _paired(predicted, answers, ndim=2)
    return _filled(said.astype(bool) != truth.astype(bool), ~(truth >= 0), unresolved)


def wrong_in_any_label(
    predicted: npt.ArrayLike, answers: npt.ArrayLike, *, unresolved: Unresolved = "wrong"
) -> Bools:
    """Return whether any label of a multi-label row differs, as `wrong_labels` has it.

    Examples
    --------
    >>> wrong_in_any_label([[1, 0], [1, 1], [0, 0]], [[1, 0], [1, 0], [-1, 0]], unresolved="right").tolist()
    [False, True, False]
    """
    return np.asarray(wrong_labels(predicted, answers, unresolved=unresolved).any(axis=1))


def wrong_score(
    predicted: npt.ArrayLike, answers: npt.ArrayLike, tolerance: float, *, unresolved: Unresolved = "wrong"
) -> Bools:
    """Return whether the score is further than ``tolerance``, in its own unit, from the people's.

    Examples
    --------
    >>> wrong_score([3.0, 3.0, 3.0], [3.5, 4.0, float("nan")], tolerance=0.5).tolist()
    [False, True, True]
    """
    said, truth = _paired(predicted, answers, ndim=1)
    if not tolerance >= 0:
        raise AuditError(f"tolerance = {tolerance}: expected how far a score may be off, at least 0")
    return _filled(~(np.abs(truth - said) <= tolerance), np.isnan(truth), unresolved)


def wrong_node(
    emitted: npt.ArrayLike,
    answers: npt.ArrayLike,
    parents: npt.ArrayLike,
    *,
    unresolved: Unresolved = "wrong",
) -> Bools:
    """Return whether the true leaf of a label tree is not under the emitted node, nor that node itself.

    An emitted root is never wrong. An answer above the emitted node is: it does not say the leaf is under it.

    Parameters
    ----------
    emitted, answers : (m,) node numbers.
    parents : (nodes,) number of each node's parent, -1 for a root.

    Raises
    ------
    AuditError : a node that is not in the tree, or parents that go round in a circle.

    Examples
    --------
    >>> parents = [-1, 0, 0, 1, 1]                            # 0 over 1 and 2; 1 over 3 and 4
    >>> wrong_node([1, 1, 3, 0], [3, 2, 4, 2], parents).tolist()
    [False, True, True, False]
    """
    said, truth = _paired(emitted, answers, ndim=1)
    up = np.append(np.asarray(parents, dtype=np.int64), -1)  # the parent of "above the root" is itself
    nodes = len(up) - 1
    for what, at, least in (("emitted", said, 0), ("answers", truth, -1), ("parents", up, -1)):
        if len(at) and not least <= at.min() <= at.max() < nodes:
            raise AuditError(
                f"{what}: expected nodes from {least} to {nodes - 1}, got {at.min()} to {at.max()}"
            )
    under, node = np.zeros(len(said), dtype=bool), truth.astype(np.int64)
    for _ in range(nodes):
        if (node < 0).all():
            break
        under |= node == said
        node = up[node]
    if (node >= 0).any():
        raise AuditError("parents go round in a circle; expected a tree, with -1 as the parent of a root")
    return _filled(~under, ~(truth >= 0), unresolved)


def _paired(predicted: npt.ArrayLike, answers: npt.ArrayLike, ndim: int) -> tuple[Floats, Floats]:
    said, truth = np.asarray(predicted, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    if said.shape != truth.shape or said.ndim != ndim:
        shape = "(m,)" if ndim == 1 else "(m, labels)"
        raise AuditError(
            f"expected labels and answers of one shape {shape}, got {said.shape} and {truth.shape}"
        )
    return said, truth


def _filled(wrong: Bools, no_answer: Bools, unresolved: Unresolved) -> Bools:
    if unresolved not in ("wrong", "right"):
        raise AuditError(f"unresolved = {unresolved!r}: expected 'wrong' or 'right'")
    return np.where(no_answer, unresolved == "wrong", wrong)
