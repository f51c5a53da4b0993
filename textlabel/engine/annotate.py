"""From predictions to rows with labels: numpy on saved arrays, no torch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from textlabel.corpus.spool import as_dataset, spans, spooled
from textlabel.engine.order import model_score
from textlabel.errors import CorpusError, RecipeError
from textlabel.label_tree import LabelTree
from textlabel.models.bundle import Bundle
from textlabel.trust.back_off import deepest_nodes
from textlabel.trust.calibrators.none import Uncalibrated
from textlabel.trust.label_shift import LabelShift, Refused, corrected
from textlabel.trust.multilabel import SubsetRule
from textlabel.trust.set_rule import Floats
from textlabel.trust.sets import without_gaps
from textlabel.types import COLUMNS, NODE_COLUMNS, FloatArray, IntArray, LabelSchema, Predictions

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

log = logging.getLogger("textlabel")


def annotate(
    corpus: Dataset,
    predictions: Predictions,
    bundle: Bundle,
    min_confidence: float | None = None,
    out_of_scope_rate: float = 0.0,
    label_shift: LabelShift | Refused | None = None,
    score_column: str | None = None,
    back_off: float | None = None,
) -> Dataset:
    """Return the corpus with labels, one row for each input row, in input order.

    Parameters
    ----------
    corpus : columns ``id`` and ``text``, and any others, which are carried through.
    predictions : logits of the same rows in the same order.
    min_confidence : rows at least this sure are "accepted", the others are for "review"; None: as
        `Bundle.accepts_from` says. Of rows that may carry several classes, that the whole set is right
        (`textlabel.trust.multilabel`).
    out_of_scope_rate : share of rows in scope that may be called "out_of_scope", whatever their confidence;
        0: none. What it promises is told in `textlabel.trust.scope`. A row that the student of a cascade
        answered never is.
    label_shift : of this corpus against the labeled rows. Labels, probabilities, confidence, margin and
        decision are corrected for it; a refusal is warned of, and corrects nothing.
    score_column : score that becomes a column of its own (`textlabel.engine.order.order_column`).
    back_off : probability that the columns `NODE_COLUMNS` are to reach (`textlabel.trust.back_off`); None:
        they are not there.

    The prediction sets are those of the uncorrected probabilities, whose quantile was calibrated, and the
    label. So those of kind ``class`` keep their promise where class shares alone have changed: it is one for
    the rows of each class, and within a class nothing changed. That of the other kinds is an average over the
    shares of the labeled rows; under other shares it need not hold, corrected or not. Sets of ordered classes
    have no gaps, which only widens them.

    Raises
    ------
    CorpusError : ``predictions`` are of other rows.
    RecipeError : ``min_confidence`` is not a probability, ``out_of_scope_rate`` not in [0, 1), ``back_off``
        not in (0, 1], or there is no label tree to back off in.
    BundleError : the model cannot tell what is out of scope.
    """
    import pyarrow as pa
    from datasets import concatenate_datasets

    least = bundle.accepts_from(min_confidence)
    check_back_off(back_off, predictions.schema)
    if back_off and isinstance(bundle.calibrator, Uncalibrated):
        log.warning("node_confidence is not calibrated: nodes may be wrong more often than back_off says")
    if not _same_rows(predictions, corpus):
        raise CorpusError(
            f"predictions of {len(predictions.ids)} rows are not of this corpus of {len(corpus)} rows, or "
            "not in this order: predict this very corpus"
        )
    if isinstance(label_shift, Refused):
        log.warning("labels are not corrected for class shares: %s", label_shift)
    weights = label_shift.weights if isinstance(label_shift, LabelShift) else None
    outside, texts = _out_of_scope(predictions, bundle, out_of_scope_rate), corpus["text"]
    features = _features(predictions, back_off, score_column)
    types = features.arrow_schema

    def table(rows: slice) -> pa.Table:
        part = predictions.part(rows)
        columns = _said(part, bundle, texts[rows], least, weights, back_off)
        columns["ood_score"] = _ood_score(part)
        columns["decision"] = np.where(outside[rows], "out_of_scope", columns["decision"])
        columns["source"] = np.full(len(part.ids), "model")
        if part.windows is not None:
            columns["windows"] = part.windows
        if score_column:
            columns[score_column] = model_score(score_column, columns["probabilities"], part, bundle, weights)
        return pa.table({name: _column(columns[name], types.field(name).type) for name in features})

    corpus = carry(corpus, keep=("id", "text"), ours=features)
    made = as_dataset(pa.concat_tables(spooled(map(table, spans(len(corpus))))), features)
    both = concatenate_datasets([corpus, made], axis=1)
    rest = [name for name in corpus.column_names if name not in ("id", "text")]
    return both.select_columns(["id", "text", *features, *rest])


def check_back_off(back_off: float | None, schema: LabelSchema) -> None:
    """Raise a `RecipeError` where there is no backing off to nodes that are so probable."""
    if back_off is None:
        return
    if not 0 < back_off <= 1:
        raise RecipeError(f"back_off = {back_off}: expected a probability in (0, 1], such as 0.9")
    if schema.tree is None:
        raise RecipeError(
            f"back_off = {back_off}: the model knows no label tree to back off in; fit with one "
            "(--label-tree FILE), or leave it out"
        )


def _nodes(probabilities: FloatArray, tree: LabelTree | None, back_off: float | None) -> dict[str, Any]:
    import pyarrow as pa

    if tree is None or back_off is None:
        return {}
    found, sure = deepest_nodes(probabilities, tree, back_off)
    names = pa.array(tree.nodes).take(pa.array(found, mask=found < 0))
    return {"node": names, "node_confidence": pa.array(sure, mask=found < 0)}


def _ood_score(predictions: Predictions) -> pa.Array:
    """Return the scores, null where the student of a cascade answered."""
    import pyarrow as pa

    return pa.array(predictions.ood_score, mask=predictions.by_student)


def _same_rows(predictions: Predictions, corpus: Dataset) -> bool:
    ids, n = corpus["id"], len(corpus)
    same = (list(predictions.ids[span]) == ids[span] for span in spans(n))
    return len(predictions.ids) == n and all(same)


def _column(values: Any, dtype: pa.DataType) -> pa.Array:
    """Return one column of a table; of an array (n, k) each row is a list."""
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.ndim == 2:
        return _lists(pa.array(values.ravel()), np.full(len(values), values.shape[1])).cast(dtype)
    return values if isinstance(values, pa.Array) else pa.array(values, dtype)


def _lists(values: pa.Array, lengths: IntArray) -> pa.Array:
    import pyarrow as pa

    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), values)


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


def carry(corpus: Dataset, keep: Iterable[str], ours: Iterable[str] = ()) -> Dataset:
    """Return the corpus with input columns out of the way of ours: ``label`` becomes ``input_label``."""
    taken = set(corpus.column_names)
    renamed: dict[str, str] = {}
    for name in corpus.column_names:
        if name in (*COLUMNS, *NODE_COLUMNS, *ours) and name not in keep:
            new = f"input_{name}"
            while new in taken:
                new = f"input_{new}"
            taken.add(new)
            renamed[name] = new
    return corpus.rename_columns(renamed) if renamed else corpus


def _said(
    part: Predictions,
    bundle: Bundle,
    texts: Iterable[str],
    least: float | None,
    weights: Floats | None,
    back_off: float | None,
) -> dict[str, Any]:
    """Return what the model says of some rows, by column."""
    if part.schema.kind == "score":
        return _scores(part, bundle)
    if part.schema.kind == "multi":
        return _subsets(part, bundle, least)
    return _classes(part, bundle, texts, least, weights, back_off)


def _subsets(predictions: Predictions, bundle: Bundle, least: float | None) -> dict[str, Any]:
    """The row's classes, the probability of each by itself, and that the whole set of classes is right."""
    rule = bundle.calibrator
    assert isinstance(rule, SubsetRule)
    probabilities = rule.apply(predictions.logits)
    carried = rule.carried(probabilities)
    sure, sets = rule.confidence(probabilities, carried), bundle.sets.subsets(probabilities, carried)
    return {
        "label": _chosen(np.arange(carried.shape[1]), carried),
        "confidence": sure,
        "probabilities": probabilities.astype(np.float32),
        "margin": rule.margin(probabilities),
        "prediction_set": [None] * len(sure) if sets is None else _chosen(predictions.schema.names, sets),
        "decision": _decisions(sure, least),
    }


def _chosen(values: Any, chosen: npt.NDArray[np.bool_]) -> pa.Array:
    """Return in each row's list those of ``values`` (k,) that ``chosen`` (n, k) says."""
    import pyarrow as pa

    return _lists(pa.array(values).take(pa.array(np.nonzero(chosen)[1])), chosen.sum(axis=1))


def _classes(
    predictions: Predictions,
    bundle: Bundle,
    texts: Iterable[str],
    least: float | None,
    weights: Floats | None,
    back_off: float | None,
) -> dict[str, Any]:
    assert bundle.calibrator is not None
    probabilities = bundle.calibrator.apply(predictions.logits.astype(np.float64))
    sets = bundle.sets.sets(probabilities, texts)
    if weights is not None:
        probabilities = corrected(probabilities, weights)
    best = probabilities.argmax(axis=1)
    sets[np.arange(len(sets)), best] = True
    if predictions.schema.ordered:
        sets = without_gaps(sets)
    top = np.sort(probabilities, axis=1)[:, ::-1]
    return {
        "label": best,
        "confidence": top[:, 0],
        "probabilities": probabilities.astype(np.float32),
        "margin": top[:, 0] - top[:, 1],
        "prediction_set": _chosen(predictions.schema.names, sets),
        "decision": _decisions(top[:, 0], least),
        **_nodes(probabilities, predictions.schema.tree, back_off),
    }


def _decisions(sure: Floats, least: float | None) -> npt.NDArray[np.str_]:
    return np.where(sure >= (np.inf if least is None else least), "accepted", "review")


def _scores(predictions: Predictions, bundle: Bundle) -> dict[str, Any]:
    """A score has an interval instead of a confidence; nothing says that it is right, so: review."""
    n = len(predictions.ids)
    values = predictions.logits[:, 0].astype(np.float64)
    return {
        "label": values,
        "confidence": [None] * n,
        "probabilities": np.zeros((n, 0), np.float32),
        "margin": [None] * n,
        "prediction_set": bundle.sets.intervals(values),
        "decision": np.full(n, "review"),
    }


def _features(predictions: Predictions, back_off: float | None, score_column: str | None) -> Any:
    from datasets import ClassLabel, Features, List, Value

    schema = predictions.schema
    score = schema.kind == "score"
    label: Any = Value("float64") if score else ClassLabel(names=list(schema.names))
    label = List(label) if schema.kind == "multi" else label
    extra = {"node": Value("string"), "node_confidence": Value("float64")} if back_off else {}
    extra |= {"windows": Value("int64")} if predictions.windows is not None else {}
    extra |= {score_column: Value("float64")} if score_column else {}
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
            **extra,
        }
    )
