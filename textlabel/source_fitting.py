"""The step fit-sources: one model of several labeled sources and a few labeled rows of the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textlabel.errors import BundleError
from textlabel.labeler import DEFAULT_BACKBONE, Labeler
from textlabel.places import require_free
from textlabel.types import Summary


@dataclass(frozen=True)
class FitSources:
    """Adapt to a target by several labeled sources of the same classes.

    Parameters
    ----------
    sources : {name: labeled rows}, each in any form that `load_corpus` takes.
    target_labels : a few labeled rows of the target, which decide what is taken and calibrate it.
    out : folder for the model; an older one there is replaced when the new one is complete.
    unlabeled : texts of the target, which tell what is near; without them the labeled ones do.
    nearest : share of each source's rows that is used, those nearest to the target's texts; 1 uses all.
    backbone : registered name (`textlabel backbones`), local folder, or Hub id.
    text_column : column that holds the text, in all of them; several are joined.
    label_column : column that holds the label, a class, in the sources and in target_labels.
    on_bad_row : fail stops at the first unusable row, skip leaves such rows out.
    seed : decides folds.
    cache : look features up in the feature cache (`textlabel cache`), and keep them there.
    self_contained : also copy a backbone that could be had by its name.
    """

    sources: Mapping[str, str]
    target_labels: str
    out: str
    unlabeled: str = ""
    nearest: float = 1.0
    backbone: str | Path = DEFAULT_BACKBONE
    text_column: tuple[str, ...] = ("text",)
    label_column: str = "label"
    on_bad_row: str = "fail"
    seed: int = 0
    cache: bool = True
    self_contained: bool = False

    def run(self) -> Summary:
        """Fit, save, and return what there is to tell."""
        out = require_free(self.out, BundleError)
        labeler = Labeler(self.backbone, seed=self.seed, cache=self.cache).fit_sources(
            self.sources,
            self.target_labels,
            self.unlabeled or None,
            nearest=self.nearest,
            text_column=self.text_column,
            label_column=self.label_column,
            on_bad_row=self.on_bad_row,
        )
        labeler.save(out, self_contained=self.self_contained)
        told = labeler.record()["sources"]
        return {
            "model": str(out),
            **{key: told[key] for key in ("chosen", "pool_weights", "candidates", "rows")},
        }
