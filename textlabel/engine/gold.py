"""Rows that people labeled beforehand: their label stands, and nobody needs to check it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.corpus.dedup import contradictions
from textlabel.corpus.spool import as_dataset, spans, spooled
from textlabel.trust.multilabel import all_right
from textlabel.types import NODE_COLUMNS, FloatArray, IntArray, LabelKind, class_names_of, kind_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

log = logging.getLogger("textlabel")


def with_gold(rows: Dataset, gold: Dataset) -> Dataset:
    """Return annotated rows in which texts that people labeled bear that label, and ``source`` "human".

    Texts are matched to the letter. Where people contradict each other about a text, the model's label stays.
    Probabilities stay the model's; ``confidence`` is what it gives to the label that the row now bears, of
    several classes as if they were independent, and ``node``, where the model backs off, is that label.

    Parameters
    ----------
    gold : columns ``text`` and ``label`` (class names, lists of them, or scores).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    gold = _with_class(gold, rows)
    texts, labels = gold["text"][:], gold["label"][:]
    if kind_of(rows.features["label"]) == "multi":
        labels = [tuple(sorted(names)) for names in labels]
    unclear = {texts[i] for group in contradictions(texts, labels) for i in group}
    if unclear:
        log.warning("%d texts bear contradictory labels in gold, and keep the model's", len(unclear))
    known = {text: label for text, label in zip(texts, labels, strict=True) if text not in unclear}
    column, answers = rows.select_columns("text").with_format("arrow")[:].column("text"), list(known.values())
    place = pc.fill_null(pc.index_in(column, pa.array(list(known), column.type)), -1).to_numpy()
    found = np.flatnonzero(place >= 0)
    return relabeled(rows, found, [answers[i] for i in place[found].tolist()])


def _with_class(gold: Dataset, rows: Dataset) -> Dataset:
    """Return the gold rows without those that are labeled with an inner node of the label tree."""
    if kind_of(rows.features["label"]) != "single":
        return gold
    classes = set(class_names_of(rows.features["label"]))
    kept = [i for i, label in enumerate(gold["label"][:]) if label in classes]
    if len(kept) == len(gold):
        return gold
    log.info("%d gold rows bear inner nodes of the label tree, and change no label", len(gold) - len(kept))
    return gold.select(kept)


def relabeled(rows: Dataset, index: IntArray, labels: Sequence[Any]) -> Dataset:
    """Return the rows with people's ``labels`` at ``index``, which ascends."""
    import pyarrow as pa

    feature = rows.features["label"]
    kind, names = kind_of(feature), class_names_of(feature)
    code, codes = {name: c for c, name in enumerate(names)}, list(labels)
    if kind == "single":
        codes = [code[label] for label in labels]
    elif kind == "multi":
        codes = [sorted(code[name] for name in label) for label in labels]
    table = rows.with_format("arrow")[:]

    def part(span: slice) -> pa.Table:
        first, end = np.searchsorted(index, [span.start, span.stop]).tolist()
        return _relabeled(table[span], index[first:end] - span.start, codes[first:end], kind, names)

    made = pa.concat_tables(spooled(map(part, spans(len(table)))))
    for column in made.schema:
        place = table.schema.get_field_index(column.name)
        table = table.set_column(place, table.schema.field(place), made.column(column.name))
    return as_dataset(table, rows.features)


def _relabeled(
    table: pa.Table, index: IntArray, codes: Sequence[Any], kind: LabelKind, names: Sequence[str]
) -> pa.Table:
    """Return the columns of a table that people's answers change."""
    import pyarrow as pa

    place = np.arange(len(table))
    place[index] = len(table) + np.arange(len(index))
    sure: Sequence[float | None] = [None] * len(index)
    if kind != "score":
        chosen = table.column("probabilities").take(pa.array(index)).to_pylist()
        sure = _said_of(np.array(chosen, np.float64), codes, kind).tolist() if chosen else []
    words = {"source": ["human"] * len(index), "decision": ["accepted"] * len(index)}
    by_people: dict[str, Sequence[Any]] = {"label": codes, "confidence": sure, **words}
    if set(NODE_COLUMNS) <= set(table.column_names):
        by_people |= {"node": [names[code] for code in codes], "node_confidence": sure}
    columns = {name: table.column(name).combine_chunks() for name in by_people}
    return pa.table(
        {
            name: pa.concat_arrays([column, pa.array(by_people[name], column.type)]).take(pa.array(place))
            for name, column in columns.items()
        }
    )


def _said_of(probabilities: FloatArray, codes: Sequence[Any], kind: LabelKind) -> FloatArray:
    """Return what the model gives to people's labels (m,), by its probabilities (m, k)."""
    if kind == "single":
        return probabilities[np.arange(len(codes)), np.array(codes, np.int64)]
    carried = np.zeros(probabilities.shape, np.bool_)
    for row, classes in zip(carried, codes, strict=True):
        row[classes] = True
    return all_right(np.asarray(probabilities, np.float64), carried)
