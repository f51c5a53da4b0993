"""The step map-labels: from a model of one label set to a model of another, by a map of their classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textlabel.corpus.remote import is_url
from textlabel.errors import BundleError, CorpusError, RecipeError
from textlabel.labeler import Labeler
from textlabel.places import require_free
from textlabel.types import Summary


@dataclass(frozen=True)
class MapLabels:
    """Let a model of one label set give the labels of another.

    Parameters
    ----------
    model : folder that `fit` wrote, URL of one, or Hub id of a published one. It stays as it is.
    out : folder for the new model; an older one there is replaced when the new one is complete.
    target_labels : a few rows labeled with the other label set; the map is learned of them. Not rows that the
        model learned from: of these it is too sure, and so would the map be.
    mode : leep, a source class is a mixture of target classes, many_to_one, the likeliest of them, or
        one_to_one, one that no other source class becomes.
    map : instead of labeled rows a JSON file {source class: target class, or null if it has none}.
    label_tree : with map, a JSON file of a tree over the target classes; a source class may then become an
        inner node, and is split evenly among the classes below it.
    text_column : column that holds the text; several are joined.
    label_column : column that holds the label.
    seed : decides folds.
    self_contained : also copy a backbone that could be had by its name.
    """

    model: str
    out: str
    target_labels: str = ""
    mode: str = "leep"
    map: str = ""
    label_tree: str = ""
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    seed: int = 0
    self_contained: bool = False

    def run(self) -> Summary:
        """Map, save, and return what there is to tell."""
        out = require_free(self.out, BundleError)
        if not is_url(self.model) and Path(self.model).expanduser().resolve() == out:
            raise RecipeError(f"{out} is the model that is mapped: choose another folder for the new one")
        labeler = Labeler.from_pretrained(self.model).map_labels(
            self.target_labels or None,
            self.mode,
            stated=_read(self.map) if self.map else None,
            label_tree=_read(self.label_tree) if self.label_tree else None,
            seed=self.seed,
            text_column=self.text_column,
            label_column=self.label_column,
        )
        labeler.save(out, self_contained=self.self_contained)
        told = labeler.record()
        kept = ("mode", "calibrated", "table", "unmapped", "unreached", "comparison")
        return {
            "model": str(out),
            "started_from": self.model,
            "target_rows": told["labels"]["train"],
            **{key: told["label_map"][key] for key in kept},
        }


def _read(path: str) -> dict[str, Any]:
    """Return the JSON object in a file."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: expected a JSON file with an object, got: {error}") from None
    if not isinstance(found, dict):
        raise CorpusError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found
