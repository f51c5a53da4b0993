"""Gold labels that are likely wrong: those that people gave before, or answers to an audit.

Confident learning (`textlabel.trust.label_errors`) asks a model that did not train on a row. Of a corpus that
is the model itself, by its ``probabilities``; of the labeled rows of `fit` heads that were fitted without the
row, on the features of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.types import FloatArray, IntArray, class_names_of, kind_of

if TYPE_CHECKING:
    from datasets import Dataset

    from textlabel.engine.explain import Explainer
    from textlabel.reporting.judged import Judged

#: suspects that are told, and rows of each class below which nothing is sought
MOST, FEWEST = 10, 5


def of_corpus(rows: Dataset, known: Judged | None) -> dict[str, Any] | None:
    """Return what is suspected of the labels by which rows were judged; None: nothing can be sought."""
    if known is None or "probabilities" not in rows.column_names:
        return None
    if kind_of(rows.features["label"]) != "single":
        return None
    names = class_names_of(rows.features["label"])
    picked = rows.select(known.rows.tolist())
    model = np.flatnonzero(np.array(picked["source"][:]) == "model")  # else the label is the answer itself
    code = {name: i for i, name in enumerate(names)}
    labels = np.array([code[known.truth[i]] for i in model.tolist()], dtype=np.int64)
    picked = picked.select(model.tolist())
    found = np.array(picked["probabilities"][:], dtype=np.float64).reshape(-1, len(names))
    return _told(known.by, picked["id"][:], picked["text"][:], labels, found, names)


def of_source(explainer: Explainer, source: str, label_column: str) -> dict[str, Any] | None:
    """Return what is suspected of labeled rows; None: nothing can be sought.

    Raises
    ------
    CorpusError : rows that cannot be used.
    """
    from textlabel.corpus.check import infer_schema
    from textlabel.corpus.dedup import groups
    from textlabel.corpus.load import load_corpus
    from textlabel.engine.noise import out_of_fold_probabilities
    from textlabel.engine.task import targets

    if explainer.schema.kind != "single" or not labels_in(source, label_column):
        return None
    rows = load_corpus(source, label_column=label_column, label_kind="single")
    schema = infer_schema(rows, "single")
    labels, texts = targets(rows, schema), rows["text"][:]
    if not _enough(labels, len(schema.names)):
        return None
    features = explainer.features(texts).astype(np.float64)
    found = out_of_fold_probabilities(features, labels, groups(texts), schema.outputs, 0)
    return _told("labeled rows", rows["id"][:], texts, labels, found, schema.names)


def labels_in(source: str, label_column: str) -> bool:
    """Return whether rows have a column of labels; without it they can be compared all the same."""
    from textlabel.corpus.load import load_corpus

    there = load_corpus(source).column_names  # a column `label` is renamed where it is not asked for
    return bool({label_column, f"input_{label_column}"} & set(there))


def _enough(labels: IntArray, classes: int) -> bool:
    counts = np.bincount(labels, minlength=classes)
    return find_spec("cleanlab") is not None and int(np.sum(counts >= FEWEST)) > 1


def _told(
    by: str,
    ids: Sequence[str],
    texts: Sequence[str],
    labels: IntArray,
    probabilities: FloatArray,
    names: Sequence[str],
) -> dict[str, Any] | None:
    """Return the suspects, the least believed first, JSON-ready."""
    from textlabel.trust.label_errors import find_label_errors

    if not _enough(labels, len(names)):
        return None
    errors = find_label_errors(labels, probabilities)
    return {
        "by": by,
        "rows": len(labels),
        "suspected": int(errors.found.sum()),
        "examples": [
            {
                "id": ids[i],
                "text": texts[i],
                "given": names[labels[i]],
                "likely": names[errors.likely[i]],
                "belief": round(float(errors.self_confidence[i]), 4),
            }
            for i in errors.ranked()[:MOST].tolist()
        ],
    }
