"""What a fit learns from: labeled rows and other rows, read from any source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from textlabel.corpus.check import OnBadRow, Reject, infer_schema, rows_after_audit, write_rejects
from textlabel.corpus.load import load_with_rejects
from textlabel.engine.run import Task
from textlabel.types import LabelKind, LabelSchema

if TYPE_CHECKING:
    from datasets import Dataset


def load_task(
    train: Any,
    unlabeled: Any | None,
    validation: Any | None,
    kind: LabelKind,
    *,
    text_column: str | Sequence[str] = "text",
    label_column: str = "label",
    on_bad_row: str = "fail",
    reject_file: str | Path | None = None,
    **loading: Any,
) -> tuple[Task, int]:
    """Return what there is to learn, and how many labels of it people gave after an audit.

    Parameters
    ----------
    train, unlabeled, validation : sources, and what follows ``kind``: as `Labeler.fit`.
    kind : whether labels are classes or scores.

    Raises
    ------
    CorpusError : a source, column or row is not usable.
    """
    rejects: list[Reject] = []

    def load(source: Any, **columns: Any) -> Dataset:
        choice = cast("OnBadRow", on_bad_row)  # checked there
        rows, bad = load_with_rejects(source, text_column=text_column, on_bad_row=choice, **columns)
        rejects.extend(bad)
        return rows

    labels = {"label_column": label_column, "label_kind": kind}
    rows = load(train, **labels, **loading)
    schema = infer_schema(rows, kind)
    from_audits = rows_after_audit(rows)
    held = None if validation is None else load(validation, classes=schema.names or None, **labels)
    more = [] if unlabeled is None else list(load(unlabeled)["text"])
    from_audits += 0 if held is None else rows_after_audit(held)
    if reject_file is not None and on_bad_row == "skip":
        write_rejects(rejects, reject_file)
    known = None if held is None else (list(held["text"]), targets(held, schema))
    return Task(list(rows["text"]), targets(rows, schema), schema, more, known), from_audits


def targets(rows: Dataset, schema: LabelSchema) -> npt.NDArray[Any]:
    """Return class indices (int64) or scores (float64) of loaded rows."""
    if schema.kind == "score":
        return np.asarray(rows["label"], dtype=np.float64)
    position: Mapping[str, int] = {name: i for i, name in enumerate(schema.names)}
    for name in set(rows["label"]) - set(position):
        schema.index(name)
    return np.array([position[name] for name in rows["label"]], dtype=np.int64)
