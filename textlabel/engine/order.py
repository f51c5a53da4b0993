"""Confidence scores that ask the model: its heads of the folds, or the labels of near training rows.

Other scores are made of what a row tells by itself, whenever its order is wanted (`textlabel.audit.seal`).
These become a column, named after the score: so the order is exported and sealed with the rows, and can be
checked without the model.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from textlabel.engine.cascade import refuse_cascade
from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.models.bundle import Bundle
from textlabel.registry import load, plugins
from textlabel.trust.label_shift import corrected
from textlabel.trust.scores import Evidence, Floats, order_score, told_by_rows
from textlabel.types import COLUMNS, Predictions

#: near training rows that are asked
NEIGHBORS = 10
#: rows done at once: bounds memory
CHUNK = 2048

_LACKS = {
    "members": "needs the heads of the folds, which this model does not keep: fit again with a recipe of one "
    "solved head, such as head, and calibration = auto or folds=K, and without --forget-rows",
    "neighbor_labels": "needs the training rows, which this model does not keep: fit again with "
    "--keep-reference",
}


def order_column(order_by: str, columns: Collection[str], bundle: Bundle) -> str | None:
    """Return the score that must become a column so that rows can be ordered by it; None if none must.

    Parameters
    ----------
    order_by : column or score, perhaps with a minus before it.
    columns : that the rows have anyway.

    Raises
    ------
    RecipeError : a score of classes, where the model gives numbers; or a score whose name a column of the
        input has, too.
    BundleError : the model does not keep what the score needs.
    """
    name = order_by.removeprefix("-")
    if name in COLUMNS or name not in plugins("score"):
        return None
    if name in columns:
        raise RecipeError(
            f"order_by = {order_by!r} is a confidence score, and the input has a column {name!r}: rename "
            "that column, to order by either one, or leave it out"
        )
    if bundle.classifier.schema.kind != "single":
        gives = "numbers" if bundle.calibrator is None else "a row any number of classes"
        raise RecipeError(
            f"order_by = {order_by!r} is made of the probabilities of classes of which a row has one, and "
            f"this model gives {gives}: name a column of numbers"
        )
    if told_by_rows(name):
        return None
    has = {"members": bool(bundle.members), "neighbor_labels": bundle.scope.known.reference is not None}
    for need in load("score", name).NEEDS:
        if not has.get(need, True):
            raise BundleError(f"order_by = {order_by!r} {_LACKS[need]}; or order by another score")
    return name


def told_by_probabilities(order_by: str) -> bool:
    """Return whether an order needs nothing of the model but a row's probabilities, as a student has them.

    Examples
    --------
    >>> told_by_probabilities("-margin"), told_by_probabilities("stars"), told_by_probabilities("distance")
    (True, True, False)
    """
    name = order_by.removeprefix("-")
    if name in COLUMNS or name not in plugins("score"):
        return name != "ood_score"
    return set(load("score", name).NEEDS) <= {"probabilities"}


def model_score(
    name: str, probabilities: Floats, predictions: Predictions, bundle: Bundle, weights: Floats | None = None
) -> Floats:
    """Return score ``name`` of each row (n,), higher where it is surer of the label.

    Parameters
    ----------
    probabilities : (n, k) by which the rows got their labels.
    weights : (k,) by which they were corrected for class shares, as the heads' then are too.

    Raises
    ------
    CorpusError : ``predictions`` hold no features, or not of every row.
    """
    refuse_cascade(predictions, f"order_by = {name!r}")
    if predictions.embeddings is None:
        raise CorpusError(f"order_by = {name!r} reads features, which these predictions lack: predict again")
    needs = load("score", name).NEEDS
    parts = (slice(start, start + CHUNK) for start in range(0, len(probabilities), CHUNK))
    scores = [
        order_score(name, _evidence(needs, part, probabilities, predictions, bundle, weights))
        for part in parts
    ]
    return np.concatenate(scores)


def _evidence(
    needs: Collection[str],
    part: slice,
    probabilities: Floats,
    predictions: Predictions,
    bundle: Bundle,
    weights: Floats | None,
) -> Evidence:
    assert predictions.embeddings is not None
    assert predictions.ood_score is not None
    features, reference = predictions.embeddings[part], bundle.scope.known.reference
    neighbors = members = None
    if "neighbor_labels" in needs and reference is not None:
        neighbors = reference.neighbors(features, NEIGHBORS)
    if "members" in needs and bundle.members:
        members = bundle.by_members(features)
        members = members if weights is None else np.stack([corrected(p, weights) for p in members])
    own = np.asarray(probabilities[part], dtype=np.float64)
    return Evidence(own, predictions.ood_score[part], neighbors, members)
