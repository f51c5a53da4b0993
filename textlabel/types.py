"""The nouns that every layer shares: label schema and predictions (numpy only)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from textlabel.errors import BundleError, CorpusError, nearest

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

LabelKind = Literal["single", "score"]

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


@dataclass(frozen=True)
class LabelSchema:
    """What a label is: one class of several, or a real-valued score.

    Parameters
    ----------
    kind : "single" or "score"
    names : class names in the order of every logit and probability column; empty for scores.

    Raises
    ------
    CorpusError : fewer than two classes, or a class named twice.

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

    def __post_init__(self) -> None:
        if self.kind == "score":
            if self.names:
                raise CorpusError("a score has no class names; expected names=()")
            return
        if len(self.names) < 2:
            raise CorpusError(
                f"expected at least two classes, got {list(self.names)}; "
                "label rows of another class, or use recipe 'regression' for scores"
            )
        if len(set(self.names)) != len(self.names):
            raise CorpusError(f"class names must be unique, got {list(self.names)}")

    @property
    def outputs(self) -> int:
        """Number of logit columns: one per class, one for a score."""
        return len(self.names) or 1

    def index(self, name: str) -> int:
        """Return the column of class ``name``; an unknown class is a `CorpusError`."""
        if name not in self.names:
            raise CorpusError(f"unknown label {name!r}: {nearest(name, self.names)}")
        return self.names.index(name)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        return {"kind": self.kind, "names": list(self.names)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LabelSchema:
        """Return the schema that `to_json` wrote."""
        return cls(data["kind"], tuple(data["names"]))


@dataclass(frozen=True)
class Predictions:
    """What the model said, before anything is made of it. Torch ends here.

    Parameters
    ----------
    ids : row ids in input order, length n.
    logits : (n, k) float32; for a score (n, 1), the predicted value itself.
    schema : the label schema whose order the columns follow.
    embeddings : optional (n, d) float32 features that the head saw.
    ood_score : optional (n,) float32, by the model's ``off_map`` score; higher is further off.
    """

    ids: Sequence[str]
    logits: npt.NDArray[np.float32]
    schema: LabelSchema
    embeddings: npt.NDArray[np.float32] | None = None
    ood_score: npt.NDArray[np.float32] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = (len(self.ids), self.schema.outputs)
        if self.logits.shape != expected:
            raise ValueError(f"expected logits of shape {expected}, got {self.logits.shape}")

    def save(self, folder: str | Path) -> None:
        """Write ``predictions.safetensors`` and ``predictions.json`` into ``folder``."""
        from safetensors.numpy import save_file

        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        arrays = {"logits": self.logits, "embeddings": self.embeddings, "ood_score": self.ood_score}
        tensors = {k: np.ascontiguousarray(v) for k, v in arrays.items() if v is not None}
        save_file(tensors, path / "predictions.safetensors")
        record = {"schema": self.schema.to_json(), "ids": list(self.ids), "meta": self.meta}
        (path / "predictions.json").write_text(json.dumps(record), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Predictions:
        """Return the predictions that `save` wrote; a `BundleError` if there are none."""
        from safetensors.numpy import load_file

        path = Path(folder)
        if not (path / "predictions.json").is_file():
            raise BundleError(f"{path}: no predictions.json here; expected a folder that predict wrote")
        record = json.loads((path / "predictions.json").read_text(encoding="utf-8"))
        tensors = load_file(path / "predictions.safetensors")
        schema = LabelSchema.from_json(record["schema"])
        return cls(record["ids"], schema=schema, meta=record["meta"], **tensors)
