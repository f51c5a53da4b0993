"""The nouns that every layer shares: label schema and predictions (numpy only)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from textlabel.errors import CorpusError, nearest
from textlabel.label_tree import LabelTree, Pair

#: what parts the words of a class name
_SEPARATORS = str.maketrans("_./|", "    ")
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

LabelKind = Literal["single", "multi", "score"]

#: what a step tells when it is done; JSON-ready
Summary = dict[str, Any]

#: columns that textlabel writes; an input column of such a name is carried as ``input_NAME``
COLUMNS = (
    "id",
    "text",
    "label",
    "confidence",
    "probabilities",
    "margin",
    "prediction_set",
    "ood_score",
    "decision",
    "source",
)
#: columns that it writes where it backs off to a node of the label tree
NODE_COLUMNS = ("node", "node_confidence")


@dataclass(frozen=True)
class LabelSchema:
    """What a label is: one class of several, any number of them, or a real-valued score.

    Parameters
    ----------
    kind : "single", "multi" (a row may carry several classes, or none) or "score"
    names : class names in the order of every logit and probability column; empty for scores.
    descriptions : what each class is, in words, in that order; empty: the names say it. Schemas that differ
        in nothing else are equal.
    ordered : whether the classes are steps of a scale, the lowest first.
    parents : (node, the inner node above it) of a label tree whose leaves are the classes; empty: no tree.

    Raises
    ------
    CorpusError : fewer than two classes, a class named twice, not one description a class, parents that make
        no tree, or classes both ordered and in a tree.

    Examples
    --------
    >>> schema = LabelSchema("single", ("negative", "positive"))
    >>> schema.outputs, schema.index("positive")
    (2, 1)
    >>> LabelSchema.from_json(schema.to_json()) == schema
    True
    """

    kind: LabelKind
    names: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = field(default=(), compare=False)
    ordered: bool = False
    parents: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        if self.descriptions and len(self.descriptions) != len(self.names):
            raise CorpusError(
                f"{len(self.descriptions)} descriptions of {len(self.names)} classes; expected one of each"
            )
        if self.kind == "score":
            if self.names or self.ordered or self.parents:
                raise CorpusError("a score has no classes; expected no names, no order of them, and no tree")
            return
        if len(self.names) < 2:
            raise CorpusError(
                f"expected at least two classes, got {list(self.names)}; "
                "label rows of another class, or use recipe 'regression' for scores"
            )
        if len(set(self.names)) != len(self.names):
            raise CorpusError(f"class names must be unique, got {list(self.names)}")
        if self.ordered and self.parents:
            raise CorpusError("classes are either ordered or in a label tree: leave one of the two out")
        if self.parents:
            LabelTree(self.names, self.parents)  # fails if it is none

    @property
    def tree(self) -> LabelTree | None:
        """The label tree over the classes; None: there is none."""
        return LabelTree(self.names, self.parents) if self.parents else None

    @property
    def outputs(self) -> int:
        """Number of logit columns: one per class, one for a score."""
        return len(self.names) or 1

    @property
    def labels(self) -> tuple[str, ...]:
        """What a row may be labeled with: classes, and inner nodes of the tree; empty for scores."""
        return self.names + (self.tree.inner if self.tree else ())

    def index(self, name: str) -> int:
        """Return the column of class ``name``; an unknown class is a `CorpusError`."""
        if name not in self.names:
            raise CorpusError(f"unknown label {name!r}: {nearest(name, self.names)}")
        return self.names.index(name)

    def in_words(self) -> list[str]:
        """Return a text for each class, as a model can read it.

        Examples
        --------
        >>> LabelSchema("single", ("sci.space", "card_lost", "PlayMusic")).in_words()
        ['sci space', 'card lost', 'Play Music']
        """
        if self.descriptions:
            return list(self.descriptions)
        apart = (_INNER_CAPITAL.sub(" ", name).translate(_SEPARATORS) for name in self.names)
        return [" ".join(words.split()) or name for words, name in zip(apart, self.names, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        found: dict[str, Any] = {"kind": self.kind, "names": list(self.names)}
        found |= {"descriptions": list(self.descriptions)} if self.descriptions else {}
        found |= {"ordered": True} if self.ordered else {}
        return found | ({"parents": dict(self.parents)} if self.parents else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LabelSchema:
        """Return the schema that `to_json` wrote."""
        return cls(
            data["kind"],
            tuple(data["names"]),
            tuple(data.get("descriptions", ())),
            data.get("ordered", False),
            tuple(data.get("parents", {}).items()),
        )


def kind_of(feature: Any) -> LabelKind:
    """Return the kind of the labels in a column of a dataset, by what the column's feature says.

    Classes are a `ClassLabel`, several a row a list of one; anything else is a score.
    """
    if getattr(feature, "names", None):
        return "single"
    return "multi" if class_names_of(feature) else "score"


def class_names_of(feature: Any) -> tuple[str, ...]:
    """Return the class names that a column's feature knows, be they one a row or several; none of scores."""
    inside = getattr(feature, "feature", None)
    return tuple(getattr(feature, "names", None) or getattr(inside, "names", None) or ())


@dataclass(frozen=True)
class Predictions:
    """What the model said of n rows, before anything is made of it. Torch ends here.

    Parameters
    ----------
    ids : row ids in input order.
    logits : (n, k) float32; for a score (n, 1), the predicted value itself.
    schema : the label schema whose order the columns follow.
    embeddings : optional (n, d) float32 features that the head saw.
    ood_score : optional (n,) float32, by the model's ``off_map`` score; higher is further off.
    agreements : optional (n,) float32, share of the model's pairs of twin heads that agree on the label.
    distances : optional (n,) float32, of the rows from the bulk of the labeled rows.
    recomputed : optional (n,) bool, rows that the reference, or a backend nearer to it, computed again.
    from_cache : optional (n,) bool, rows whose features the feature cache knew.
    windows : optional (n,) int64, in how many windows a row was read; 0: not by the model itself.
    by_student : optional (n,) bool, rows that the student of a cascade answered: of these only the logits are
        there, and everything else that is a float is NaN.
    """

    ids: Sequence[str]
    logits: npt.NDArray[np.float32]
    schema: LabelSchema
    embeddings: npt.NDArray[np.float32] | None = None
    ood_score: npt.NDArray[np.float32] | None = None
    agreements: npt.NDArray[np.float32] | None = None
    distances: npt.NDArray[np.float32] | None = None
    recomputed: npt.NDArray[np.bool_] | None = None
    from_cache: npt.NDArray[np.bool_] | None = None
    windows: IntArray | None = None
    by_student: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        expected = (len(self.ids), self.schema.outputs)
        if self.logits.shape != expected:
            raise ValueError(f"expected logits of shape {expected}, got {self.logits.shape}")

    def part(self, rows: slice) -> Predictions:
        """Return the predictions of some of the rows."""
        arrays = {name: array[rows] for name, array in self.arrays().items()}
        return Predictions(self.ids[rows], schema=self.schema, **arrays)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays that there are, by name, as safetensors wants them."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("ids", "schema")}
        return {name: array for name, array in named.items() if array is not None}
