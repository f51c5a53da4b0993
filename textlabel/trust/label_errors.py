"""Which labels are likely wrong: confident learning (Northcutt et al. 2021, arXiv 1911.00068), by cleanlab.

A model that did not train on a row is asked for it. A class is believed where its probability is at least as
high as it is on average where that class was given; counted over all rows, beliefs against given labels
estimate how often which class was given for which. So many rows of each such pair, those that the model is
surest of, are found to be wrong.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import RecipeError
from textlabel.types import FloatArray, IntArray

#: rows of a class that are never found wrong together: fewer are not enough to learn it and to judge it
KEPT = 2


@dataclass(frozen=True)
class LabelErrors:
    """What confident learning says of n labels of k classes.

    Parameters
    ----------
    found : (n,) whether a label is likely wrong.
    likely : (n,) the class that the model takes the row for.
    self_confidence : (n,) probability of the given label in [0, 1].
    joint : (k, k) estimated share of rows that were given class i and are of class j; sums to 1.
    """

    found: npt.NDArray[np.bool_]
    likely: IntArray
    self_confidence: FloatArray
    joint: FloatArray

    @property
    def wrong_share(self) -> float:
        """Estimated share of wrong labels; too high by what the model itself gets wrong."""
        return float(1 - np.trace(self.joint))

    def ranked(self) -> IntArray:
        """Return the rows that were found, the least believed first."""
        rows = np.flatnonzero(self.found)
        return rows[np.argsort(self.self_confidence[rows], kind="stable")]


def require_cleanlab(need: str) -> None:
    """Raise a `RecipeError` if cleanlab is not installed, which ``need`` needs."""
    if find_spec("cleanlab") is None:
        raise RecipeError(f"{need} needs cleanlab: pip install 'textlabel[cleanlab]'")


def find_label_errors(labels: IntArray, probabilities: FloatArray) -> LabelErrors:
    """Return which labels are likely wrong.

    Parameters
    ----------
    labels : (n,) class numbers; a class may have no row.
    probabilities : (n, k) by models that did not train on the row; classes that a model could not know are 0.

    Raises
    ------
    RecipeError : cleanlab is not installed.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 1, 0])
    >>> p = np.array([0.1, 0.2, 0.1, 0.9, 0.8, 0.9, 0.95])
    >>> errors = find_label_errors(labels, np.stack([1 - p, p], axis=1))
    >>> errors.ranked().tolist(), errors.likely[6].item()
    ([6], 1)
    """
    require_cleanlab("finding wrong labels")
    chosen = np.arange(len(labels)), labels
    likely = np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
    if len(np.unique(labels)) < 2:  # nothing to confuse, and cleanlab asks for two classes
        shares = np.bincount(labels, minlength=probabilities.shape[1]) / max(len(labels), 1)
        return LabelErrors(np.zeros(len(labels), np.bool_), likely, probabilities[chosen], np.diag(shares))
    found, joint = _by_cleanlab(labels, probabilities)
    own = probabilities[chosen]
    return LabelErrors(_leave_some(found, labels, own), likely, own, joint)


def soft_targets(labels: IntArray, probabilities: FloatArray, errors: LabelErrors) -> FloatArray:
    """Return target probabilities (n, k): labels as given, but those found wrong as the model has them."""
    soft = np.eye(probabilities.shape[1])[labels]
    soft[errors.found] = probabilities[errors.found]
    return soft


def _by_cleanlab(labels: IntArray, probabilities: FloatArray) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    from cleanlab.count import compute_confident_joint, estimate_joint
    from cleanlab.filter import find_label_issues

    counts = compute_confident_joint(labels, probabilities)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)  # of tiny classes
        found: Any = find_label_issues(labels, probabilities, confident_joint=counts, n_jobs=1)
    joint = estimate_joint(labels, probabilities, confident_joint=counts)
    return np.asarray(found, dtype=np.bool_), np.asarray(joint, dtype=np.float64)


def _leave_some(found: npt.NDArray[np.bool_], labels: IntArray, own: FloatArray) -> npt.NDArray[np.bool_]:
    """Return ``found`` without the most believed rows of classes of which too few would be left."""
    kept = found.copy()
    for c in np.unique(labels[found]):
        rows = np.flatnonzero(labels == c)
        missing = KEPT - int((~found[rows]).sum())
        if missing > 0:
            suspects = rows[found[rows]]
            kept[suspects[np.argsort(-own[suspects], kind="stable")[:missing]]] = False
    return kept
