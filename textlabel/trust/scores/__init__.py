"""How sure a row is, as one number by which rows are put in order: one file, one score.

A plugin module of kind ``score`` defines ``NAME``, ``NEEDS`` (the fields of `Evidence` that it reads)
and ``score(evidence)``, which returns (n,) numbers of which higher is surer, always. A score orders rows;
it is not a probability, and a certificate holds for any order that was fixed before the audit was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, PluginError, RecipeError
from textlabel.registry import load

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Evidence:
    """What is known of n rows; only the calibrated probabilities always are.

    Parameters
    ----------
    probabilities : (n, k) calibrated; a row's label is its likeliest class.
    ood_score : (n,) how far off the map; higher is further.
    neighbor_labels : (n, m) class numbers of the m nearest labeled rows, a row itself never among them; -1:
        there are fewer.
    members : (m, n, k) calibrated probabilities by m heads that were trained on different rows (folds).

    Raises
    ------
    CorpusError : shapes that do not agree.

    Examples
    --------
    >>> Evidence(np.array([[0.2, 0.8]])).labels.tolist()
    [1]
    """

    probabilities: Floats
    ood_score: npt.NDArray[np.floating[Any]] | None = None
    neighbor_labels: Ints | None = None
    members: Floats | None = None

    def __post_init__(self) -> None:
        shape = self.probabilities.shape
        if len(shape) != 2 or shape[1] < 2:
            raise CorpusError(f"expected probabilities (n, k) of k >= 2 classes, got {shape}")
        n, k = shape
        expected = {"ood_score": (n,), "neighbor_labels": (n, None), "members": (None, n, k)}
        for name, sizes in expected.items():
            value = getattr(self, name)
            if value is not None and not _fits(value.shape, sizes):
                raise CorpusError(f"{name} of shape {value.shape} do not fit probabilities of shape {shape}")

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label (n,) of each row: its likeliest class."""
        best: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return best


def order_score(name: str, evidence: Evidence) -> Floats:
    """Return score ``name`` of each row, (n,) float64; rows are accepted from the highest down.

    Rows of one score are tied: whoever orders them breaks ties at random, without looking at labels.

    Raises
    ------
    PluginError : no such score, or one that needs what is no evidence.
    RecipeError : the score needs evidence that is not there.
    CorpusError : the score of a row is not a number.

    Examples
    --------
    >>> order_score("margin", Evidence(np.array([[0.75, 0.25], [0.5, 0.5]]))).tolist()
    [0.5, 0.0]
    >>> order_score("distance", Evidence(np.array([[0.75, 0.25]])))
    Traceback (most recent call last):
        ...
    textlabel.errors.RecipeError: confidence score 'distance' needs ood_score, of which there is none here; \
these need nothing but probabilities: entropy, margin, max_probability
    """
    plugin = load("score", name)
    known = [field.name for field in fields(Evidence)]
    if unknown := sorted(set(plugin.NEEDS) - set(known)):
        raise PluginError(f"score {name!r} needs {unknown}; expected fields of Evidence: {known}")
    missing = [need for need in plugin.NEEDS if getattr(evidence, need) is None]
    if missing:
        raise RecipeError(
            f"confidence score {name!r} needs {' and '.join(missing)}, of which there is none here; "
            "these need nothing but probabilities: entropy, margin, max_probability"
        )
    values = np.asarray(plugin.score(evidence), dtype=np.float64)
    if values.shape != evidence.probabilities.shape[:1] or np.isnan(values).any():
        row = int(np.isnan(values).argmax()) if values.ndim == 1 else 0
        raise CorpusError(
            f"confidence score {name!r}: expected one number for each of {len(evidence.probabilities)} rows, "
            f"got shape {values.shape}, first at fault row {row}; look for NaN in what it reads"
        )
    return values


def told_by_rows(name: str) -> bool:
    """Return whether annotated rows tell all that score ``name`` needs.

    Examples
    --------
    >>> told_by_rows("margin"), told_by_rows("knn")
    (True, False)
    """
    return set(load("score", name).NEEDS) <= {"probabilities", "ood_score"}


def _fits(found: tuple[int, ...], sizes: tuple[int | None, ...]) -> bool:
    """Return whether a shape has these sizes, None standing for any but 0."""
    pairs = zip(found, sizes, strict=False)
    return len(found) == len(sizes) and all(a > 0 if b is None else a == b for a, b in pairs)


def entropy_of(probabilities: npt.ArrayLike) -> Floats:
    """Return the entropy in nats along the last axis; 0 log 0 is 0.

    Examples
    --------
    >>> entropy_of([[1.0, 0.0]]).tolist()
    [0.0]
    """
    p = np.asarray(probabilities, dtype=np.float64)
    nats: Floats = np.maximum(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1), 0.0)
    return nats
