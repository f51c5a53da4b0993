"""What a fit learns from: labeled rows and other rows, read from any source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from textlabel.corpus.check import OnBadRow, Reject, infer_schema, rows_after_audit, write_rejects
from textlabel.corpus.load import load_with_rejects
from textlabel.engine.run import Task
from textlabel.errors import CorpusError
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
    label_separator: str | None = None,
    on_bad_row: str = "fail",
    reject_file: str | Path | None = None,
    descriptions: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    **loading: Any,
) -> tuple[Task, int]:
    """Return what there is to learn, and how many labels of it people gave after an audit.

    Parameters
    ----------
    train, unlabeled, validation : sources, and what follows ``kind``: as `Labeler.fit`. Without ``train``
        there are no labeled rows, and ``classes`` or ``descriptions`` name the classes.
    kind : whether labels are classes, lists of classes, or scores.
    descriptions : {class: what it is, in words}, of some or all classes.

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

    labels = {"label_column": label_column, "label_kind": kind, "label_separator": label_separator}
    rows = None if train is None else load(train, classes=classes, **labels, **loading)
    found = named(classes or list(descriptions or ())) if rows is None else infer_schema(rows, kind)
    schema = described(found, descriptions or {})
    _refuse_nameless(schema) if rows is None else _refuse_unlabeled(classes or (), schema)
    held = None if validation is None else load(validation, classes=schema.names or None, **labels)
    more = [] if unlabeled is None else list(load(unlabeled)["text"])
    from_audits = sum(rows_after_audit(some) for some in (rows, held) if some is not None)
    if reject_file is not None and on_bad_row == "skip":
        write_rejects(rejects, reject_file)
    known = None if held is None else (list(held["text"]), targets(held, schema))
    if rows is None:
        return Task([], np.zeros(0, np.int64), schema, more, known), from_audits
    return Task(list(rows["text"]), targets(rows, schema), schema, more, known), from_audits


def named(classes: Sequence[str]) -> LabelSchema:
    """Return the schema of classes that no row is labeled with, in the order in which they are named.

    Raises
    ------
    CorpusError : none is named, or only one, or one twice.
    """
    if not classes:
        raise CorpusError(
            "nothing to learn from: give labeled rows, or name the classes (--classes 'refund,card lost', or "
            "--descriptions FILE) to begin without labels"
        )
    return LabelSchema("single", tuple(classes))


def _refuse_nameless(schema: LabelSchema) -> None:
    for name, words in zip(schema.names, schema.in_words(), strict=True):
        if not any(sign.isalpha() for sign in words):
            raise CorpusError(
                f"class {name!r} says nothing in words, which is all that is known of it without labels: "
                "describe it (--descriptions FILE)"
            )


def _refuse_unlabeled(classes: Sequence[str], schema: LabelSchema) -> None:
    """Raise a `CorpusError` if one of the named classes is not among those of the rows."""
    if missing := [name for name in classes if name not in schema.names]:
        raise CorpusError(
            f"no labeled row is of class {missing[0]!r}: label at least two rows of every class, leave the "
            "class out, or fit without labeled rows, on the names of the classes alone"
        )


def described(schema: LabelSchema, descriptions: Mapping[str, str]) -> LabelSchema:
    """Return the schema with classes described, those left out by their names.

    Raises
    ------
    CorpusError : an unknown class, or a description without words.

    Examples
    --------
    >>> described(LabelSchema("single", ("a_b", "c")), {"c": "cats"}).descriptions
    ('a b', 'cats')
    """
    for name, words in descriptions.items():
        schema.index(name)
        if not isinstance(words, str) or not words.strip():
            raise CorpusError(f"description of class {name!r}: expected words, got {words!r}")
    if not descriptions:
        return schema
    said = [descriptions.get(n, w) for n, w in zip(schema.names, schema.in_words(), strict=True)]
    return replace(schema, descriptions=tuple(said))


def read_descriptions(file: str | Path) -> dict[str, str]:
    """Return {class: what it is, in words} from a JSON file.

    Raises
    ------
    CorpusError : no such file, or something else in it.
    """
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{file}: no JSON of descriptions can be read here ({error})") from None
    if not isinstance(found, dict):
        raise CorpusError(
            f'{file}: expected one JSON object, such as {{"card_lost": "somebody lost a bank card"}}'
        )
    return found


def targets(rows: Dataset, schema: LabelSchema) -> npt.NDArray[Any]:
    """Return class indices (int64), scores (float64), or (n, k) 0 and 1 (int64), of loaded rows."""
    if schema.kind == "score":
        return np.asarray(rows["label"], dtype=np.float64)
    position: Mapping[str, int] = {name: i for i, name in enumerate(schema.names)}
    if schema.kind == "multi":
        return _answers(rows["label"][:], position)
    for name in set(rows["label"]) - set(position):
        schema.index(name)
    return np.array([position[name] for name in rows["label"]], dtype=np.int64)


def _answers(labels: Sequence[Sequence[str]], position: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """Return (n, k) 0 and 1: which classes rows carry."""
    answers = np.zeros((len(labels), len(position)), np.int64)
    for row, names in zip(answers, labels, strict=True):
        row[[position[name] for name in names]] = 1
    return answers
