"""From predictions to rows with labels: numpy on saved arrays, no torch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.engine.order import model_score
from textlabel.errors import CorpusError, RecipeError
from textlabel.models.bundle import Bundle
from textlabel.trust.label_shift import LabelShift, Refused, corrected
from textlabel.types import COLUMNS, Predictions

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger("textlabel")


def annotate(
    corpus: Dataset,
    predictions: Predictions,
    bundle: Bundle,
    min_confidence: float = 0.9,
    out_of_scope_rate: float = 0.0,
    label_shift: LabelShift | Refused | None = None,
    order_score: str | None = None,
) -> Dataset:
    """Return the corpus with labels, one row for each input row, in input order.

    Parameters
    ----------
    corpus : columns ``id`` and ``text``, and any others, which are carried through.
    predictions : logits of the same rows in the same order.
    min_confidence : rows at least this sure are "accepted", the others are for "review".
    out_of_scope_rate : share of rows in scope that may be called "out_of_scope", whatever their confidence;
        0: none. What it promises is told in `textlabel.trust.scope`.
    label_shift : of this corpus against the labeled rows. Labels, probabilities, confidence, margin and
        decision are corrected for it; a refusal is warned of, and corrects nothing.
    order_score : score that becomes a column of its own (`textlabel.engine.order.order_column`).

    The prediction sets are those of the uncorrected probabilities, whose quantile was calibrated, and the
    label. So those of kind ``class`` keep their promise where class shares alone have changed: it is one for
    the rows of each class, and within a class nothing changed. That of the other kinds is an average over the
    shares of the labeled rows; under other shares it need not hold, corrected or not.

    Raises
    ------
    CorpusError : ``predictions`` are of other rows.
    RecipeError : ``min_confidence`` is not a probability, or ``out_of_scope_rate`` not in [0, 1).
    BundleError : the model cannot tell what is out of scope.
    """
    from datasets import Dataset, Value, concatenate_datasets

    if not 0 <= min_confidence <= 1:
        raise RecipeError(f"min_confidence = {min_confidence}: expected a probability in [0, 1]")
    if list(predictions.ids) != list(corpus["id"]):
        raise CorpusError(
            f"predictions of {len(predictions.ids)} rows are not of this corpus of {len(corpus)} rows, or "
            "not in this order: predict this very corpus"
        )
    if predictions.schema.kind == "score":
        columns = _scores(predictions, bundle)
    else:
        columns = _classes(predictions, bundle, corpus["text"], min_confidence, label_shift)
    columns["ood_score"] = predictions.ood_score
    outside = _out_of_scope(predictions, bundle, out_of_scope_rate)
    columns["decision"] = np.where(outside, "out_of_scope", columns["decision"]).tolist()
    columns["source"] = ["model"] * len(predictions.ids)
    corpus = carry(corpus, keep=("id", "text"))
    features = _features(predictions)
    if order_score:
        weights = label_shift.weights if isinstance(label_shift, LabelShift) else None
        columns[order_score] = model_score(
            order_score, columns["probabilities"], predictions, bundle, weights
        )
        features[order_score] = Value("float64")
    made = Dataset.from_dict({name: columns[name] for name in features}, features=features)
    both = concatenate_datasets([corpus, made], axis=1)
    rest = [name for name in corpus.column_names if name not in COLUMNS]
    return both.select_columns(["id", "text", *features, *rest])


def _out_of_scope(predictions: Predictions, bundle: Bundle, rate: float) -> npt.NDArray[np.bool_]:
    assert predictions.ood_score is not None
    if rate and np.isinf(bundle.scope.threshold(rate)):
        log.warning(
            "no row is called out of scope: a rate of %g needs %d labeled rows that calibrate, there are %d",
            rate,
            np.ceil(1 / rate - 1),
            len(bundle.scope.in_scope),
        )
    return bundle.scope.out_of_scope(predictions.ood_score, rate)


def carry(corpus: Dataset, keep: Iterable[str]) -> Dataset:
    """Return the corpus with input columns out of the way of ours: ``label`` becomes ``input_label``."""
    taken = set(corpus.column_names)
    renamed: dict[str, str] = {}
    for name in corpus.column_names:
        if name in COLUMNS and name not in keep:
            new = f"input_{name}"
            while new in taken:
                new = f"input_{new}"
            taken.add(new)
            renamed[name] = new
    return corpus.rename_columns(renamed) if renamed else corpus


def _classes(
    predictions: Predictions,
    bundle: Bundle,
    texts: Iterable[str],
    min_confidence: float,
    label_shift: LabelShift | Refused | None,
) -> dict[str, Any]:
    assert bundle.calibrator is not None
    probabilities = bundle.calibrator.apply(predictions.logits.astype(np.float64))
    sets = bundle.sets.sets(probabilities, texts)
    if isinstance(label_shift, Refused):
        log.warning("labels are not corrected for class shares: %s", label_shift)
    elif label_shift is not None:
        probabilities = corrected(probabilities, label_shift.weights)
    best = probabilities.argmax(axis=1)
    sets[np.arange(len(sets)), best] = True
    top = np.sort(probabilities, axis=1)[:, ::-1]
    names = np.array(predictions.schema.names, dtype=object)
    return {
        "label": best,
        "confidence": top[:, 0],
        "probabilities": probabilities.astype(np.float32),
        "margin": top[:, 0] - top[:, 1],
        "prediction_set": [names[row].tolist() for row in sets],
        "decision": np.where(top[:, 0] >= min_confidence, "accepted", "review"),
    }


def _scores(predictions: Predictions, bundle: Bundle) -> dict[str, Any]:
    """A score has an interval instead of a confidence; nothing says that it is right, so: review."""
    n = len(predictions.ids)
    values = predictions.logits[:, 0].astype(np.float64)
    return {
        "label": values,
        "confidence": [None] * n,
        "probabilities": [[] for _ in range(n)],
        "margin": [None] * n,
        "prediction_set": bundle.sets.intervals(values),
        "decision": ["review"] * n,
    }


def _features(predictions: Predictions) -> Any:
    from datasets import ClassLabel, Features, List, Value

    schema = predictions.schema
    score = schema.kind == "score"
    label = Value("float64") if score else ClassLabel(names=list(schema.names))
    return Features(
        {
            "label": label,
            "confidence": Value("float64"),
            "probabilities": List(Value("float32")),
            "margin": Value("float64"),
            "prediction_set": List(Value("float64" if score else "string")),  # a score's interval
            "ood_score": Value("float32"),
            "decision": Value("string"),
            "source": Value("string"),
        }
    )
