"""Rows that people labeled beforehand: their label stands, and nobody needs to check it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textlabel.corpus.dedup import contradictions
from textlabel.corpus.spool import as_dataset, spans, spooled
from textlabel.types import NODE_COLUMNS, IntArray

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

log = logging.getLogger("textlabel")


def with_gold(rows: Dataset, gold: Dataset) -> Dataset:
    """Return annotated rows in which texts that people labeled bear that label, and ``source`` "human".

    Texts are matched to the letter. Where people contradict each other about a text, the model's label stays.
    Probabilities stay the model's; ``confidence`` is what it gives to the label that the row now bears, and
    ``node``, where the model backs off, is that label.

    Parameters
    ----------
    gold : columns ``text`` and ``label`` (class names, or scores).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts, labels = gold["text"][:], gold["label"][:]
    unclear = {texts[i] for group in contradictions(texts, labels) for i in group}
    if unclear:
        log.warning("%d texts bear contradictory labels in gold, and keep the model's", len(unclear))
    known = {text: label for text, label in zip(texts, labels, strict=True) if text not in unclear}
    column, answers = rows.select_columns("text").with_format("arrow")[:].column("text"), list(known.values())
    place = pc.fill_null(pc.index_in(column, pa.array(list(known), column.type)), -1).to_numpy()
    found = np.flatnonzero(place >= 0)
    return relabeled(rows, found, [answers[i] for i in place[found].tolist()])


def relabeled(rows: Dataset, index: IntArray, labels: Sequence[str | float]) -> Dataset:
    """Return the rows with people's ``labels`` at ``index``, which ascends."""
    import pyarrow as pa

    names = getattr(rows.features["label"], "names", None)
    codes = [names.index(label) for label in labels] if names else list(labels)
    table = rows.with_format("arrow")[:]

    def part(span: slice) -> pa.Table:
        first, end = np.searchsorted(index, [span.start, span.stop]).tolist()
        return _relabeled(table[span], index[first:end] - span.start, codes[first:end], names)

    made = pa.concat_tables(spooled(map(part, spans(len(table)))))
    for column in made.schema:
        place = table.schema.get_field_index(column.name)
        table = table.set_column(place, table.schema.field(place), made.column(column.name))
    return as_dataset(table, rows.features)


def _relabeled(
    table: pa.Table, index: IntArray, codes: Sequence[Any], names: Sequence[str] | None
) -> pa.Table:
    """Return the columns of a table that people's answers change."""
    import pyarrow as pa
    import pyarrow.compute as pc

    said = np.zeros(len(table), np.bool_)
    said[index] = True
    sure = [None] * len(index)
    if names:
        chosen = table.column("probabilities").take(pa.array(index)).to_pylist()
        sure = [probabilities[code] for probabilities, code in zip(chosen, codes, strict=True)]
    words = {"source": ["human"] * len(index), "decision": ["accepted"] * len(index)}
    by_people: dict[str, Sequence[Any]] = {"label": codes, "confidence": sure, **words}
    if names and set(NODE_COLUMNS) <= set(table.column_names):
        by_people |= {"node": [names[code] for code in codes], "node_confidence": sure}
    columns = {name: table.column(name).combine_chunks() for name in by_people}
    return pa.table(
        {
            name: pc.replace_with_mask(column, pa.array(said), pa.array(by_people[name], column.type))
            for name, column in columns.items()
        }
    )
