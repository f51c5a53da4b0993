"""Rows that people labeled beforehand: their label stands, and nobody needs to check it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from textlabel.corpus.dedup import contradictions

if TYPE_CHECKING:
    from datasets import Dataset

log = logging.getLogger("textlabel")


def with_gold(rows: Dataset, gold: Dataset) -> Dataset:
    """Return annotated rows in which texts that people labeled bear that label, and ``source`` "human".

    Texts are matched to the letter. Where people contradict each other about a text, the model's label stays.
    Probabilities stay the model's; ``confidence`` is what it gives to the label that the row now bears.

    Parameters
    ----------
    gold : columns ``text`` and ``label`` (class names, or scores).
    """
    texts, labels = gold["text"][:], gold["label"][:]
    unclear = {texts[i] for group in contradictions(texts, labels) for i in group}
    if unclear:
        log.warning("%d texts bear contradictory labels in gold, and keep the model's", len(unclear))
    known = {text: label for text, label in zip(texts, labels, strict=True) if text not in unclear}
    found = [i for i, text in enumerate(rows["text"]) if text in known]
    said = [known[rows[i]["text"]] for i in found]
    return relabeled(rows, np.array(found, dtype=np.int64), said)


def relabeled(rows: Dataset, index: np.ndarray, labels: list[str | float]) -> Dataset:
    """Return the rows with people's ``labels`` at ``index``."""
    from datasets import Dataset

    names = getattr(rows.features["label"], "names", None)
    columns = {name: rows[name][:] for name in ("label", "confidence", "source", "decision")}
    chosen = rows.select(index)["probabilities"] if names else [None] * len(index)
    for i, label, probabilities in zip(index.tolist(), labels, chosen, strict=True):
        code = names.index(label) if names else label
        columns["label"][i] = code
        columns["confidence"][i] = probabilities[code] if names else None
        columns["source"][i], columns["decision"][i] = "human", "accepted"
    every = {name: columns.get(name) or rows[name][:] for name in rows.column_names}
    return Dataset.from_dict(every, features=rows.features)
