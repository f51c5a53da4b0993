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
    label_separator: str | None = None,
    on_bad_row: str = "fail",
    reject_file: str | Path | None = None,
    descriptions: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    ordered: Sequence[str] = (),
    label_tree: Mapping[str, Any] | None = None,
    **loading: Any,
) -> tuple[Task, int]:
    """Return what there is to learn, and how many labels of it people gave after an audit.

    Parameters
    ----------
    train, unlabeled, validation : sources, and what follows ``kind``: as `Labeler.fit`. Without ``train``
        there are no labeled rows, and ``classes`` or ``descriptions`` name the classes.
    kind : whether labels are classes, lists of classes, or scores.
    descriptions : {class: what it is, in words}, of some or all classes.
    ordered : the classes, the lowest first, where they are steps of a scale.
    label_tree : a tree over the classes, nested (`textlabel.label_tree.read_tree`). Rows may be labeled with
        an inner node of it; those of which the same text bears a class, too, are left out.

    Raises
    ------
    CorpusError : a source, column or row is not usable, or a class is none of ``ordered`` or of the tree.
    """
    given, classes = structured(kind, ordered, label_tree), _named_once(classes)
    if given and classes and set(classes) != set(given.names):
        raise CorpusError(
            f"classes are {sorted(classes)}, and the order or the tree is of {sorted(given.names)}: give one"
        )
    rejects: list[Reject] = []

    def load(source: Any, **columns: Any) -> Dataset:
        choice = cast("OnBadRow", on_bad_row)  # checked there
        rows, bad = load_with_rejects(source, text_column=text_column, on_bad_row=choice, **columns)
        rejects.extend(bad)
        return rows

    labels = {"label_column": label_column, "label_kind": kind, "label_separator": label_separator}
    known_labels = given.labels if given else classes
    rows = None if train is None else load(train, classes=known_labels, **labels, **loading)
    if given is None:
        given = named(classes or list(descriptions or ())) if rows is None else infer_schema(rows, kind)
    schema = described(given, descriptions or {})
    _refuse_nameless(schema) if rows is None else _refuse_unlabeled(classes or (), schema)
    held = None if validation is None else load(validation, classes=schema.labels or None, **labels)
    held = None if held is None else _without_partial(held, schema.tree)[0]
    more = [] if unlabeled is None else list(load(unlabeled)["text"])
    from_audits = sum(rows_after_audit(some) for some in (rows, held) if some is not None)
    if reject_file is not None and on_bad_row == "skip":
        write_rejects(rejects, reject_file)
    known = None if held is None else (list(held["text"]), targets(held, schema))
    if rows is None:
        return Task([], np.zeros(0, np.int64), schema, more, known), from_audits
    rows, partial = _without_partial(rows, schema.tree)
    return Task(list(rows["text"]), targets(rows, schema), schema, more, known, partial), from_audits


def structured(
    kind: LabelKind, ordered: Sequence[str], label_tree: Mapping[str, Any] | None
) -> LabelSchema | None:
    """Return the schema that an order of the classes or a tree over them makes; None: there is neither.

    Raises
    ------
    CorpusError : both, no tree, fewer than two classes, a class twice, or not one class a row.

    Examples
    --------
    >>> structured("single", ["bad", "fair", "good"], None).ordered
    True
    """
    if ordered and label_tree is not None:
        raise CorpusError("classes are either ordered or in a label tree: leave one of the two out")
    if (ordered or label_tree is not None) and kind != "single":
        learns = "scores" if kind == "score" else "several classes a row"
        raise CorpusError(
            f"this recipe learns {learns}, and a label tree or an order is for one class a row: leave it out"
        )
    if label_tree is not None:
        names, parents = read_tree(label_tree)
        return LabelSchema(kind, names, parents=parents)
    return LabelSchema(kind, tuple(map(str, ordered)), ordered=True) if ordered else None


def _without_partial(rows: Dataset, tree: LabelTree | None) -> tuple[Dataset, Any]:
    """Return the rows that bear a class, and of the others texts and (m, k) which classes theirs may be."""
    if tree is None:
        return rows, None
    labels, number = rows["label"][:], {name: i for i, name in enumerate(tree.inner)}
    sure = [i for i, label in enumerate(labels) if label not in number]
    if len(sure) == len(labels):
        return rows, None
    texts = rows["text"][:]
    known = {text_key(texts[i]) for i in sure}
    kept = [i for i, text in enumerate(texts) if labels[i] in number and text_key(text) not in known]
    candidates = tree.members[[number[labels[i]] for i in kept]]
    return rows.select(sure), ([texts[i] for i in kept], candidates)


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


def _named_once(classes: Sequence[str] | None) -> list[str] | None:
    if isinstance(classes, str):
        raise CorpusError(f"classes = {classes!r}: expected a list of names, such as ['refund', 'card lost']")
    return [str(name) for name in classes] if classes else None


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
    return read_object(file, "descriptions", '{"card_lost": "somebody lost a bank card"}')


def read_label_tree(file: str | Path) -> dict[str, Any]:
    """Return a nested label tree from a JSON file.

    Raises
    ------
    CorpusError : no such file, something else in it, or a name twice in one object.
    """
    return read_object(file, "a label tree", '{"card": ["lost", "stolen"], "loan": ["new"]}')


def read_object(file: str | Path, what: str, example: str) -> dict[str, Any]:
    """Return one JSON object from a file; ``what`` and ``example`` tell in errors what is expected."""

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
