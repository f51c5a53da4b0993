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
from textlabel.corpus.dedup import text_key
from textlabel.corpus.load import load_with_rejects
from textlabel.engine.run import Task
from textlabel.errors import CorpusError
from textlabel.label_tree import LabelTree, read_tree
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
    descriptions: Mapping[str, str] | None = None,
    ordered: Sequence[str] = (),
    label_tree: Mapping[str, Any] | None = None,
    **loading: Any,
) -> tuple[Task, int]:
    """Return what there is to learn, and how many labels of it people gave after an audit.

    Parameters
    ----------
    train, unlabeled, validation : sources, and what follows ``kind``: as `Labeler.fit`.
    kind : whether labels are classes or scores.
    descriptions : {class: what it is, in words}, of some or all classes.
    ordered : the classes, the lowest first, where they are steps of a scale.
    label_tree : a tree over the classes, nested (`textlabel.label_tree.read_tree`). Rows may be labeled with
        an inner node of it; those of which the same text bears a class, too, are left out.

    Raises
    ------
    CorpusError : a source, column or row is not usable, or a class is none of ``ordered`` or of the tree.
    """
    given = structured(kind, ordered, label_tree)
    rejects: list[Reject] = []

    def load(source: Any, **columns: Any) -> Dataset:
        choice = cast("OnBadRow", on_bad_row)  # checked there
        rows, bad = load_with_rejects(source, text_column=text_column, on_bad_row=choice, **columns)
        rejects.extend(bad)
        return rows

    labels = {"label_column": label_column, "label_kind": kind}
    inner = given.tree.inner if given and given.tree else ()
    known_labels = {"classes": given.names + inner} if given else {}
    rows = load(train, **{**labels, **known_labels, **loading})
    schema = described(given or infer_schema(rows, kind), descriptions or {})
    from_audits = rows_after_audit(rows)
    held = None if validation is None else load(validation, classes=schema.names or None, **labels)
    more = [] if unlabeled is None else list(load(unlabeled)["text"])
    from_audits += 0 if held is None else rows_after_audit(held)
    if reject_file is not None and on_bad_row == "skip":
        write_rejects(rejects, reject_file)
    known = None if held is None else (list(held["text"]), targets(held, schema))
    rows, partial = _without_partial(rows, schema.tree)
    return Task(list(rows["text"]), targets(rows, schema), schema, more, known, partial), from_audits


def structured(
    kind: LabelKind, ordered: Sequence[str], label_tree: Mapping[str, Any] | None
) -> LabelSchema | None:
    """Return the schema that an order of the classes or a tree over them makes; None: there is neither.

    Raises
    ------
    CorpusError : both, no tree, fewer than two classes, a class twice, or labels that are scores.

    Examples
    --------
    >>> structured("single", ["bad", "fair", "good"], None).ordered
    True
    """
    if ordered and label_tree is not None:
        raise CorpusError("classes are either ordered or in a label tree: leave one of the two out")
    if (ordered or label_tree is not None) and kind == "score":
        raise CorpusError("this recipe learns scores, which have no classes to order or to put in a tree")
    if label_tree is not None:
        names, parents = read_tree(label_tree)
        return LabelSchema(kind, names, parents=parents)
    return LabelSchema(kind, tuple(map(str, ordered)), ordered=True) if ordered else None


def _without_partial(rows: Dataset, tree: LabelTree | None) -> tuple[Dataset, Any]:
    """Return the rows that bear a class, and of the others texts and (m, k) which classes theirs may be."""
    labels = rows["label"][:]
    number = {name: i for i, name in enumerate(tree.inner)} if tree else {}
    sure = [i for i, label in enumerate(labels) if label not in number]
    if tree is None or len(sure) == len(labels):
        return rows, None
    texts = rows["text"][:]
    known = {text_key(texts[i]) for i in sure}
    kept = [i for i, text in enumerate(texts) if labels[i] in number and text_key(text) not in known]
    candidates = tree.members[[number[labels[i]] for i in kept]]
    return rows.select(sure), ([texts[i] for i in kept], candidates)


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
    return _read_object(file, "descriptions", '{"card_lost": "somebody lost a bank card"}')


def read_label_tree(file: str | Path) -> dict[str, Any]:
    """Return a nested label tree from a JSON file.

    Raises
    ------
    CorpusError : no such file, something else in it, or a name twice in one object.
    """
    return _read_object(file, "a label tree", '{"card": ["lost", "stolen"], "loan": ["new"]}')


def _read_object(file: str | Path, what: str, example: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise CorpusError(f"{file}: {min(twice)!r} occurs twice in one object; expected each name once")
        return dict(pairs)

    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{file}: no JSON of {what} can be read here ({error})") from None
    if not isinstance(found, dict):
        raise CorpusError(f"{file}: expected one JSON object, such as {example}")
    return found


def targets(rows: Dataset, schema: LabelSchema) -> npt.NDArray[Any]:
    """Return class indices (int64) or scores (float64) of loaded rows."""
    if schema.kind == "score":
        return np.asarray(rows["label"], dtype=np.float64)
    position: Mapping[str, int] = {name: i for i, name in enumerate(schema.names)}
    for name in set(rows["label"]) - set(position):
        schema.index(name)
    return np.array([position[name] for name in rows["label"]], dtype=np.int64)
